// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <movielens/data/table_options.hpp>

namespace programs::movielens {

/// \brief What the rows of a file with ratings look like.
struct RatingTable {
  enum class Rows {
    ratings,  ///< one rating each
    users     ///< Jester: the number of ratings, then a rating per item, 99 = none
  };

  Rows rows = Rows::ratings;
  std::size_t user = 0, item = 1, rating = 2;  ///< columns, from 0
  std::size_t num_columns = 4;                 ///< of every row, at least
  std::size_t most_columns = 4;                ///< more may follow only if empty
  std::string column_names = "user, item, rating, time";
  bool has_header = false;
  std::string item_name = {};        ///< of the column in the header, if there is one
  float lowest = 0.5F, highest = 5;  ///< ratings
  bool zero_is_implicit = false;     ///< Book-Crossing: 0 = seen, not rated
  bool first_counts = false;         ///< of a pair that comes twice, if nobody says otherwise
  std::string note = {};             ///< what was decided that may surprise, or empty

  /// Any finite number is a rating, so nothing is known of the scale.
  [[nodiscard]] bool takes_all() const noexcept {
    return highest == std::numeric_limits<float>::max();
  }

  /// \brief Recognises the table by the fields of its first line, and by nothing else.
  ///
  /// A line that names ratings, or has no number, is a header, and its names say where the columns
  /// are, in any order. A line with numbers is a row: of a MovieLens edition without names (user,
  /// item, rating, and a time or none), or of Jester if it is wide and has nothing but numbers.
  ///
  /// \param file, line  for messages
  /// \throws std::invalid_argument naming a column of the options that the table lacks
  /// \throws FileError if the names are not known, or there are none and it is none of these tables
  [[nodiscard]] static RatingTable of(std::span<const std::string_view> first_line,
                                      const TableOptions& options,
                                      const std::filesystem::path& file, std::size_t line);
};

inline constexpr float jester_not_rated = 99;

}  // namespace programs::movielens
