// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>

#include <programs/base/json.hpp>

namespace programs {

/// \brief The way of rows through the gates of a model as HTML: a drawing of the trees for gates
/// that split, a table of what spoke for which expert for those that compare.
/// \param rows   a list of decision_path()
/// \param tasks  what the gates are called, in their order
/// \return empty if there are no rows
/// \throws Json::exception or std::out_of_range if it is no such list
[[nodiscard]] std::string html_decision_paths(const Json& rows, std::span<const std::string> tasks);

}  // namespace programs
