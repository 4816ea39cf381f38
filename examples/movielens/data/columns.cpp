// SPDX-License-Identifier: MIT
#include <movielens/data/columns.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <stdexcept>

#include <movielens/data/header.hpp>
#include <movielens/data/numbers.hpp>
#include <movielens/data/row_splitter.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

constexpr std::string_view name_prefix = "name:";
constexpr std::size_t how_many = 3;

[[noreturn]] void refuse_columns(const std::string& reason) {
  throw std::invalid_argument("--columns: " + reason);
}

bool is_number(std::string_view column) {
  return column.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view name_in(std::string_view column) {
  return column.starts_with(name_prefix) ? column.substr(name_prefix.size()) : column;
}

/// From 1; the largest of all if it does not fit.
std::size_t number_of_column(std::string_view column) {
  std::size_t number = 0;
  const auto error = std::from_chars(column.data(), column.data() + column.size(), number).ec;
  return error == std::errc() ? number : std::numeric_limits<std::size_t>::max();
}

/// How many columns have that name, and one of them. A column that is written just so is it, even
/// if others differ only in case.
struct Named {
  std::size_t count = 0;
  std::size_t column = 0;
};

Named columns_named(std::string_view name, std::span<const std::string_view> line) {
  Named exact;
  Named alike;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == name) exact = {exact.count + 1, i};
    if (equal_without_case(line[i], name)) alike = {alike.count + 1, i};
  }
  return exact.count > 0 ? exact : alike;
}

std::size_t find_column(std::string_view column, std::span<const std::string_view> first_line) {
  if (is_number(column)) {
    const std::size_t number = number_of_column(column);
    if (number <= first_line.size()) return number - 1;
    refuse_columns("no column " + std::string(column) + ", the table has " +
                   std::to_string(first_line.size()));
  }
  const std::string_view name = name_in(column);
  const Named found = columns_named(name, first_line);
  if (found.count == 1) return found.column;
  if (found.count == 0)
    refuse_columns("no column " + in_quotes(name) + ", the first line has " + listed(first_line));
  refuse_columns(std::to_string(found.count) + " columns are named " + in_quotes(name) +
                 ": give its number, from 1 to " + std::to_string(first_line.size()));
}

}  // namespace

void check_columns(std::span<const std::string> columns) {
  if (columns.size() != how_many)
    refuse_columns("expected three, those of user, item and rating, not " +
                   std::to_string(columns.size()));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string_view column = trimmed(columns[i]);
    if (name_in(column).empty()) refuse_columns("one of the names is empty");
    if (is_number(column) && number_of_column(column) == 0)
      refuse_columns("no column " + std::string(column) + ", they are counted from 1");
    for (std::size_t j = 0; j < i; ++j)
      if (column == trimmed(columns[j]))
        refuse_columns(in_quotes(column) +
                       " is there twice; user, item and rating are three columns");
  }
}

bool have_names(std::span<const std::string> columns) {
  return std::any_of(columns.begin(), columns.end(),
                     [](const std::string& column) { return !is_number(trimmed(column)); });
}

std::array<std::size_t, 3> find_columns(std::span<const std::string> columns,
                                        std::span<const std::string_view> first_line) {
  check_columns(columns);
  std::array<std::size_t, how_many> found{};
  for (std::size_t i = 0; i < how_many; ++i) {
    found[i] = find_column(trimmed(columns[i]), first_line);
    for (std::size_t j = 0; j < i; ++j)
      if (found[i] == found[j])
        refuse_columns(in_quotes(columns[j]) + " and " + in_quotes(columns[i]) +
                       " are the same column; user, item and rating are three");
  }
  return found;
}

bool are_named_in(std::span<const std::string> columns, std::span<const std::string_view> line) {
  return std::all_of(columns.begin(), columns.end(), [&](const std::string& column) {
    const std::string_view text = trimmed(column);
    return !is_number(text) && columns_named(name_in(text), line).count == 1;
  });
}

}  // namespace programs::movielens
