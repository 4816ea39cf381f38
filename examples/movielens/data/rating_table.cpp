// SPDX-License-Identifier: MIT
#include <movielens/data/rating_table.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <stdexcept>

#include <movielens/base/file_error.hpp>

namespace movielens {
namespace {

bool equal_without_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

/// The column of that name or number.
std::size_t find_column(std::span<const std::string_view> header, const std::string& column) {
  for (std::size_t i = 0; i < header.size(); ++i)
    if (equal_without_case(header[i], column)) return i;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(column.data(), column.data() + column.size(), number);
  if (error == std::errc() && end == column.data() + column.size()) {
    if (number >= 1 && number <= header.size()) return number - 1;
    throw std::invalid_argument("--columns: no column " + std::to_string(number) +
                                ", the table has " + std::to_string(header.size()));
  }
  std::string names;
  for (const std::string_view name : header) names += (names.empty() ? "" : ", ") + in_quotes(name);
  throw std::invalid_argument("--columns: no column " + in_quotes(column) +
                              ", the first line has " + names);
}

/// Rows of jokes are wide, and nothing but numbers.
bool is_dense(std::span<const std::string_view> fields) {
  constexpr std::size_t fewest = 8;
  return fields.size() >= fewest &&
         std::all_of(fields.begin(), fields.end(), [](auto field) { return number_in(field); });
}

}  // namespace

std::optional<float> number_in(std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

RatingTable RatingTable::of(std::span<const std::string_view> first_line,
                            std::span<const std::string> columns) {
  if (!columns.empty()) {
    RatingTable table{.user = find_column(first_line, columns[0]),
                      .item = find_column(first_line, columns[1]),
                      .rating = find_column(first_line, columns[2]),
                      .num_columns = first_line.size(),
                      .column_names = "as many as in the first line",
                      .lowest = std::numeric_limits<float>::lowest(),
                      .highest = std::numeric_limits<float>::max()};
    table.has_header = !number_in(first_line[table.rating]);
    return table;
  }
  if (first_line.size() == 3 && equal_without_case(first_line[1], "ISBN"))
    return {.num_columns = 3,
            .column_names = "user, ISBN, rating",
            .has_header = true,
            .lowest = 1,
            .highest = 10,
            .zero_is_implicit = true,
            .may_repeat = true};
  if (is_dense(first_line))
    return {.rows = Rows::users,
            .num_columns = first_line.size(),
            .column_names = "as many as in the first line",
            .lowest = -10,
            .highest = 10};
  return {.has_header = first_line.size() == 4 && equal_without_case(first_line[2], "rating")};
}

}  // namespace movielens
