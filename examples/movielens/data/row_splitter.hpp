// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace programs::movielens {

/// \brief Splits the rows of a table into fields.
///
/// Separators: `::` (MovieLens 1M, 10M), tab (100K ratings), `|` (100K titles), `,` (all later
/// editions), `;` (Book-Crossing), or runs of blanks and tabs. A field that begins with a quote and
/// has another right before the next separator is quoted as in RFC 4180: `"a, b"` is one field and
/// `""` inside it is a quote. Any other quote is a letter. Blanks around a field are dropped.
class RowSplitter {
 public:
  /// \param separator  one of the above; a blank for runs of blanks and tabs
  explicit RowSplitter(std::string_view separator);

  /// The splitter for a file whose first line is this one: the separator that comes first, unless
  /// it is the comma of a decimal number. A line without any is read as one field.
  [[nodiscard]] static RowSplitter for_first_line(std::string_view line);

  /// The same for ratings, whose fields have no blanks in them: these separate if nothing else
  /// does.
  [[nodiscard]] static RowSplitter for_ratings(std::string_view first_line);

  /// The fields of a line; valid until the next call, and no longer than the line.
  [[nodiscard]] std::span<const std::string_view> split(std::string_view line);

  /// Does a quoted field of the last line lack its end?
  [[nodiscard]] bool is_open() const noexcept { return is_open_; }

 private:
  [[nodiscard]] std::size_t end_of_field(std::string_view text) const;
  [[nodiscard]] std::size_t end_of_quotes(std::string_view text) const;
  [[nodiscard]] std::string_view behind_separator(std::string_view text) const;
  void split_at(char separator, std::string_view line);
  void split_quoted(std::string_view line);
  std::string_view unquoted(std::string_view text);

  std::string_view separator_;
  bool by_blanks_;
  std::vector<std::string_view> fields_;
  std::string unquoted_;
  bool is_open_ = false;
};

/// Without the blanks and tabs around it.
[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace programs::movielens
