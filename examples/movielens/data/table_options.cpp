// SPDX-License-Identifier: MIT
#include <movielens/data/table_options.hpp>

#include <algorithm>
#include <stdexcept>

#include <movielens/data/columns.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {

const std::vector<std::string>& duplicates_names() {
  static const std::vector<std::string> names = {"error", "first", "last", "mean"};
  return names;
}

void check(const TableOptions& options) {
  if (!options.columns.empty()) check_columns(options.columns);
  const auto& names = duplicates_names();
  if (!options.duplicates.empty() &&
      std::find(names.begin(), names.end(), options.duplicates) == names.end())
    throw std::invalid_argument("--duplicates is " + in_quotes(options.duplicates) +
                                ", expected error, first, last or mean");
}

TableOptions given_or_saved(TableOptions given, const TableOptions& saved) {
  if (given.columns.empty() && !saved.columns.empty()) {
    given.columns = saved.columns;
    given.has_saved_columns = true;
  }
  if (!given.not_rated) given.not_rated = saved.not_rated;
  if (given.duplicates.empty()) given.duplicates = saved.duplicates;
  return given;
}

}  // namespace programs::movielens
