// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace programs::movielens {

/// \brief What --columns says: where user, item and rating are.
///
/// Each is a number, counted from 1, if it is nothing but digits; else a name, in any case. `name:`
/// in front makes a name of anything, for a column that is named "1": `name:1`. What a word means
/// never depends on the table.
///
/// \throws std::invalid_argument if there are not three, or if one is empty, zero, or there twice
void check_columns(std::span<const std::string> columns);

/// Is any of them a name? Then the first line of the table has names.
[[nodiscard]] bool have_names(std::span<const std::string> columns);

/// \brief The columns of user, item and rating, from 0.
/// \throws std::invalid_argument naming one that the table lacks, or has twice, or that is
/// another's
[[nodiscard]] std::array<std::size_t, 3> find_columns(std::span<const std::string> columns,
                                                      std::span<const std::string_view> first_line);

/// Would find_columns() find all of them, and all by names?
[[nodiscard]] bool are_named_in(std::span<const std::string> columns,
                                std::span<const std::string_view> line);

}  // namespace programs::movielens
