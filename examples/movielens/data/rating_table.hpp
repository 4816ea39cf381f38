// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace movielens {

/// \brief What the rows of a file with ratings look like.
struct RatingTable {
  enum class Rows {
    ratings,  ///< one rating each
    users     ///< Jester: the number of ratings, then a rating per item, 99 = none
  };

  Rows rows = Rows::ratings;
  std::size_t user = 0, item = 1, rating = 2;  ///< columns, from 0
  std::size_t num_columns = 4;                 ///< of every row
  std::string column_names = "user, item, rating, time";
  bool has_header = false;
  float lowest = 0.5F, highest = 5;  ///< ratings
  bool zero_is_implicit = false;     ///< Book-Crossing: 0 = seen, not rated
  bool may_repeat = false;           ///< of a pair that comes twice the first counts

  /// \brief Recognises the table by the fields of its first line.
  /// \param columns  user, item and rating, by name or by number from 1; empty to recognise them
  /// \throws std::invalid_argument naming a column that the table lacks
  [[nodiscard]] static RatingTable of(std::span<const std::string_view> first_line,
                                      std::span<const std::string> columns);
};

/// The number in the whole of `text`, or nothing.
[[nodiscard]] std::optional<float> number_in(std::string_view text);

inline constexpr float jester_not_rated = 99;

}  // namespace movielens
