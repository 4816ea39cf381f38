// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <movielens/base/json.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/train_options.hpp>

namespace movielens {

/// \brief Ratings made into the two tasks, and where they came from.
struct Dataset {
  std::string source;
  std::size_t ratings = 0;
  TwoTaskData rows;
  std::vector<std::string> user_ids;  ///< per user, as in the file
  std::vector<std::string> item_ids;

  /// How many ratings, users and items.
  [[nodiscard]] Json counts() const;
  /// How many rows each split has.
  [[nodiscard]] Json row_counts() const;
  /// Per item, how many training rows it has.
  [[nodiscard]] std::vector<std::int64_t> item_frequency() const;
};

/// \brief Reads the ratings of options.data and draws negatives and splits from the split's seed.
/// \throws FileError for ratings that cannot be used
[[nodiscard]] Dataset load(const TrainOptions& options);

}  // namespace movielens
