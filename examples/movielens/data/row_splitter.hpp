// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace movielens {

/// \brief Splits the rows of every MovieLens edition, and of Book-Crossing, into fields.
///
/// Separators: `::` (1M, 10M), tab (100K ratings), `|` (100K titles), `,` (all later editions), `;`
/// (Book-Crossing). Only `,` and `;` know quotes, as in RFC 4180: `"a, b"` is one field and `""`
/// inside it is a quote.
/// Blanks around a field are dropped.
class RowSplitter {
 public:
  /// \param separator  one of the above
  explicit RowSplitter(std::string_view separator) : separator_(separator) {}

  /// The splitter for a file whose first line is this one: the separator that comes first.
  /// A line without any is read as one field.
  [[nodiscard]] static RowSplitter for_first_line(std::string_view line);

  /// The fields of a line; valid until the next call, and no longer than the line.
  [[nodiscard]] std::span<const std::string_view> split(std::string_view line);

 private:
  void split_quoted(std::string_view line);

  std::string_view separator_;
  std::vector<std::string_view> fields_;
  std::string unquoted_;
};

}  // namespace movielens
