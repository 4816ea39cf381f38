// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <programs/report/gnuplot.hpp>
#include <programs/report/result_table.hpp>

namespace programs::next_character {

/// \brief What a character costs against how well it is predicted: bits against the multiply-adds
/// that the mixture, or the dense network in its place, really used, and against the seconds that
/// the training took. Dense networks are joined by a line: a mixture below it is worth having.
/// \param rows  at least one, with a run each; means over the runs are shown
[[nodiscard]] std::vector<Plot> cost_plots(const std::vector<ResultRow>& rows);

}  // namespace programs::next_character
