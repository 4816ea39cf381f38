// SPDX-License-Identifier: MIT
#include <movielens/data/rating_table.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include <movielens/data/columns.hpp>
#include <movielens/data/header.hpp>
#include <movielens/data/numbers.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

using Fields = std::span<const std::string_view>;

constexpr const char* say_columns = "--columns USER,ITEM,RATING says which they are";

/// Without the empty fields at the end, which separators at the end of a line make.
std::size_t columns_in(Fields line) {
  std::size_t count = line.size();
  while (count > 1 && line[count - 1].empty()) --count;
  return count;
}

/// Rows of jokes are wide, and nothing but numbers.
bool is_dense(Fields line) {
  constexpr std::size_t fewest = 8;
  return line.size() >= fewest &&
         std::all_of(line.begin(), line.end(), [](auto field) { return number_in(field); });
}

/// A table as wide as the line, with every finite rating.
RatingTable any_table(Fields line, std::size_t user, std::size_t item, std::size_t rating) {
  RatingTable table{.user = user,
                    .item = item,
                    .rating = rating,
                    .num_columns = columns_in(line),
                    .most_columns = line.size(),
                    .column_names = "as many as in the first line",
                    .lowest = std::numeric_limits<float>::lowest(),
                    .highest = std::numeric_limits<float>::max()};
  table.num_columns = std::max(table.num_columns, std::max({user, item, rating}) + 1);
  return table;
}

std::array<std::size_t, 3> told_columns(Fields line, const TableOptions& options) {
  try {
    return find_columns(options.columns, line);
  } catch (const std::invalid_argument& error) {
    if (!options.has_saved_columns) throw;
    throw std::invalid_argument(std::string(error.what()) +
                                "; the model was trained with them, this table needs its own");
  }
}

/// Of the columns that were named to us.
RatingTable table_as_told(Fields line, const TableOptions& options) {
  const auto [user, item, rating] = told_columns(line, options);
  RatingTable table = any_table(line, user, item, rating);
  const bool is_left_out = options.not_rated && line[rating] == *options.not_rated;
  table.has_header =
      have_names(options.columns) || names_ratings(line) || (has_only_words(line) && !is_left_out);
  if (!table.has_header) return table;
  table.item_name = line[item];
  const bool is_known = have_names(options.columns) || column_of(Role::user, line) ||
                        column_of(Role::item, line) || column_of(Role::rating, line);
  if (!is_known) table.note = "has no number, so it is taken for names and not for a rating";
  return table;
}

/// A header that lacks one of the three.
[[noreturn]] void refuse_names(Fields line, const std::filesystem::path& file, std::size_t number) {
  std::string lacking;
  for (const auto& [role, name] : {std::pair(Role::user, "user"), std::pair(Role::item, "item"),
                                   std::pair(Role::rating, "rating")}) {
    if (column_of(role, line)) continue;
    lacking += lacking.empty() ? "" : ", ";
    lacking += std::string(is_named_twice(role, line) ? "two columns for the " : "no ") + name;
  }
  throw FileError(file, number,
                  "the first line names " + lacking + ": " + listed(line) + "; " + say_columns);
}

/// Of the columns that its header names.
RatingTable table_as_named(Fields line, const std::filesystem::path& file, std::size_t number) {
  const auto user = column_of(Role::user, line);
  const auto item = column_of(Role::item, line);
  const auto rating = column_of(Role::rating, line);
  if (!user || !item || !rating) refuse_names(line, file, number);
  RatingTable table = any_table(line, *user, *item, *rating);
  table.has_header = true;
  table.item_name = line[*item];
  const std::string item_name = plain_name(line[*item]);
  const std::string rating_name = plain_name(line[*rating]);
  if (item_name == "movieid" && rating_name == "rating") {
    table.lowest = RatingTable{}.lowest;
    table.highest = RatingTable{}.highest;
  } else if (item_name == "isbn" && (rating_name == "rating" || rating_name == "bookrating")) {
    table.lowest = 1;
    table.highest = 10;
    table.zero_is_implicit = true;
    table.first_counts = true;
  }
  return table;
}

}  // namespace

RatingTable RatingTable::of(std::span<const std::string_view> first_line,
                            const TableOptions& options, const std::filesystem::path& file,
                            std::size_t line) {
  if (!options.columns.empty()) return table_as_told(first_line, options);
  const std::size_t width = columns_in(first_line);
  const bool is_row = options.not_rated && width >= 3 && first_line[2] == *options.not_rated;
  if (names_ratings(first_line) || (has_only_words(first_line) && !is_row))
    return table_as_named(first_line, file, line);
  if (is_dense(first_line))
    return {.rows = Rows::users,
            .num_columns = first_line.size(),
            .most_columns = first_line.size(),
            .column_names = "as many as in the first line",
            .lowest = -10,
            .highest = 10};
  if (width == 4) return {.most_columns = first_line.size()};
  if (width == 3)
    return {.num_columns = 3,
            .most_columns = first_line.size(),
            .column_names = "user, item, rating",
            .note =
                "names no columns, so they are taken for user, item and rating in this order "
                "(--columns says otherwise)"};
  throw FileError(file, line,
                  counted(width, "column") +
                      " without names, expected 4: user, item, rating, time; " + say_columns);
}

}  // namespace programs::movielens
