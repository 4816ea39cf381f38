// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <string>
#include <vector>

#include <programs/base/json.hpp>
#include <programs/report/plots.hpp>

/// \file
/// \brief The pictures of a comparison: runs side by side.

namespace programs {

/// \brief The lines of metrics.jsonl of several runs: those of one curve have one name.
using RunEpochs = std::map<std::string, std::vector<std::vector<Json>>>;

/// \brief Validation loss and experts per sample by epoch, a curve per name, as means over its runs
/// for as long as all of them train; none without runs.
[[nodiscard]] std::vector<Plot> run_plots(const RunEpochs& runs, const PlotWords& words);

}  // namespace programs
