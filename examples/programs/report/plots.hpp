// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <vector>

#include <programs/base/json.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/study/budget.hpp>
#include <programs/study/trials.hpp>

/// \file
/// \brief The pictures of a training and of a search over hyper-parameters.

namespace programs {

/// \brief A measure of the validation rows, and what a picture calls it.
struct PlotMeasure {
  std::string name;   ///< in metrics.jsonl
  std::string label;  ///< "cross-entropy"
  std::string title;  ///< "cross-entropy of watched"
};

/// \brief How a program speaks of what it trains.
struct PlotWords {
  std::vector<std::string> tasks;   ///< each has a gate; none if there are as many as a model has
  std::vector<PlotMeasure> losses;  ///< parts of the loss, at most two
  std::string loss_units;
  PlotMeasure score;            ///< the more the better, in a picture of its own
  std::string epoch = "epoch";  ///< the unit that a training is counted in
  std::string task = "task";    ///< what it is that has a gate
};

/// \brief Losses and score, load per expert, and how the permutations change, by epoch.
/// \param epochs  the lines of metrics.jsonl, at least one
[[nodiscard]] std::vector<Plot> epoch_plots(std::span<const Json> epochs, const PlotWords& words);

/// \brief Experts per sample against the training step: from dense to sparse.
/// \param steps  the lines of steps.jsonl
[[nodiscard]] Plot sparsity_plot(std::span<const Json> steps);

/// \brief Test loss of each trial, and of the best so far by validation loss; loss against experts
/// per sample.
[[nodiscard]] std::vector<Plot> trial_plots(std::span<const Trial> trials);

/// \brief Expected best test loss against the number of trials, a curve per gate and search.
[[nodiscard]] Plot budget_plot(std::span<const BudgetGroup> groups);

}  // namespace programs
