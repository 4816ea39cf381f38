// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <movielens/data/table_options.hpp>
#include <movielens/data/two_task.hpp>

namespace programs::movielens {

/// \brief Ratings made into the two tasks, and where they came from.
struct Dataset {
  std::string source;
  std::size_t ratings = 0;
  TwoTaskData rows;
  std::vector<std::string> user_ids;  ///< per user, as in the file
  std::vector<std::string> item_ids;
  std::vector<std::string> notes;  ///< of Ratings
  std::string item_column;         ///< of Ratings

  /// Per item, how many training rows it has.
  [[nodiscard]] std::vector<std::int64_t> item_frequency() const;
};

/// \param key  negatives and splits are drawn from it
/// \throws FileError for ratings that cannot be used
/// \throws std::invalid_argument as read_ratings()
[[nodiscard]] Dataset load_dataset(const std::filesystem::path& path, const TableOptions& table,
                                   comet::RandomKey key);

}  // namespace programs::movielens
