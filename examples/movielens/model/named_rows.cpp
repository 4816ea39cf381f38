// SPDX-License-Identifier: MIT
#include <movielens/model/named_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <programs/base/text_table.hpp>
#include <programs/base/utf8.hpp>
#include <programs/training/decision_paths.hpp>

namespace programs::movielens {
namespace {

constexpr std::size_t num_rows = 4;

/// Ratings among the rows, one of each film, those of films that are rated most often first.
std::vector<std::size_t> well_known(const TwoTaskRows& rows,
                                    const std::vector<std::int64_t>& frequency) {
  std::vector<std::size_t> list;
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (rows.watched[row] > 0) list.push_back(row);
  const auto item = [&](std::size_t row) { return std::size_t(rows.item[row]); };
  std::stable_sort(list.begin(), list.end(), [&](std::size_t a, std::size_t b) {
    const auto known_a = frequency[item(a)], known_b = frequency[item(b)];
    return known_a != known_b ? known_a > known_b : item(a) < item(b);
  });
  list.erase(std::unique(list.begin(), list.end(),
                         [&](std::size_t a, std::size_t b) { return item(a) == item(b); }),
             list.end());
  list.resize(std::min(list.size(), num_rows));
  return list;
}

std::string name_of(const Dataset& data, const Titles& titles, std::size_t row) {
  const TwoTaskRows& rows = data.rows.test;
  const std::string& item = data.item_ids[std::size_t(rows.item[row])];
  const auto title = titles.find(item);
  return "user " + printable(data.user_ids[std::size_t(rows.user[row])]) + ", " +
         (title == titles.end() ? "item " + printable(item) : title->second) +
         formatted(", rated %g", double(rows.rating[row]));
}

}  // namespace

Json decision_paths(const Model& model, const Dataset& data, const Titles& titles) {
  const TwoTaskRows& rows = data.rows.test;
  Json list = Json::array();
  for (const std::size_t row : well_known(rows, data.item_frequency())) {
    const auto x = model.features({&rows.user[row], 1}, {&rows.item[row], 1});
    Json path = decision_path<Model::Scalar>(name_of(data, titles, row), model.gates(), x);
    if (path.is_null()) return Json::array();
    list.push_back(std::move(path));
  }
  return list;
}

}  // namespace programs::movielens
