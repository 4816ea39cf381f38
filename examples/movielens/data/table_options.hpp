// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace programs::movielens {

/// \brief What a person says of a table of ratings. Empty: what can be told from the table.
struct TableOptions {
  std::vector<std::string> columns;      ///< user, item and rating, see check_columns()
  std::optional<std::string> not_rated;  ///< rows with this instead of a rating are left out
  std::string duplicates;                ///< one of duplicates_names(), or empty for the usual
  bool has_saved_columns = false;        ///< they are those of a model, not of a command line

  bool operator==(const TableOptions&) const = default;
};

/// \brief What is done with a pair (user, item) that comes more than once.
///
/// "error" refuses it, "first" and "last" take the rating of the first or last row in the file, and
/// "mean" takes the mean of all.
[[nodiscard]] const std::vector<std::string>& duplicates_names();

/// \throws std::invalid_argument naming the option, its value and what is expected
void check(const TableOptions& options);

/// What is given, and what was saved with a model where nothing is.
[[nodiscard]] TableOptions given_or_saved(TableOptions given, const TableOptions& saved);

}  // namespace programs::movielens
