// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <vector>

#include <movielens/data/row_reader.hpp>

namespace programs::movielens {

/// \brief Remarks on ratings that look like "not rated" in a table of an unknown scale: a -1 below
/// ratings from 1 to 5, a 0 below ratings from 1 to 10, a 99 above those from -10 to 10.
[[nodiscard]] std::vector<std::string> remarks_on_scale(std::span<const Row> rows);

}  // namespace programs::movielens
