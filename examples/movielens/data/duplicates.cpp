// SPDX-License-Identifier: MIT
#include <movielens/data/duplicates.hpp>

#include <algorithm>
#include <cstddef>

#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

bool are_of_one_pair(const Row& a, const Row& b) { return a.user == b.user && a.item == b.item; }

float mean_stars(std::span<const Row> rows) {
  double sum = 0;
  for (const Row& row : rows) sum += static_cast<double>(row.stars);
  return static_cast<float>(sum / static_cast<double>(rows.size()));
}

}  // namespace

void merge_duplicates(std::vector<Row>& rows, std::string_view how,
                      std::span<const std::string> user_ids, std::span<const std::string> item_ids,
                      const std::filesystem::path& file) {
  auto begin = std::adjacent_find(rows.begin(), rows.end(), are_of_one_pair);
  if (begin == rows.end()) return;
  if (how == "error")
    throw FileError(file, begin[1].line,
                    "user " + in_quotes(user_ids[static_cast<std::size_t>(begin->user)]) +
                        " rates item " +
                        in_quotes(item_ids[static_cast<std::size_t>(begin->item)]) +
                        " a second time, first in line " + std::to_string(begin->line) +
                        "; --duplicates first, last or mean makes one of them");
  auto merged = begin;
  while (begin != rows.end()) {
    const auto end = std::find_if_not(begin, rows.end(),
                                      [&](const Row& row) { return are_of_one_pair(row, *begin); });
    Row row = how == "last" ? end[-1] : *begin;
    if (how == "mean") row.stars = mean_stars(std::span(begin, end));
    *merged++ = row;
    begin = end;
  }
  rows.erase(merged, rows.end());
}

}  // namespace programs::movielens
