// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <programs/study/trials.hpp>

/// \file
/// \brief How good a search over hyper-parameters gets with so many trials, and how many trials a
/// local search saves.

namespace programs {

/// A trial as these statistics see it.
struct Score {
  double validation_loss = 0;
  double test_loss = 0;
};

/// \brief Expected test loss of the trial with the best validation loss among m trials, drawn
/// without replacement from those given, for m = 1..N; element m - 1 is that of m.
///
/// With the trials in the order of their validation loss, trial r (from 1) is the best of m with
/// probability C(N - r, m - 1) / C(N, m). The sum over r is exact: nothing is resampled, and it is
/// what the mean over all subsets of m trials would be.
/// \par Cost  O(N^2)
[[nodiscard]] std::vector<double> expected_best(std::vector<Score> scores);

/// \brief The budget, linear between whole numbers of trials, from which a curve is first not above
/// the target; nothing if it never gets there.
[[nodiscard]] std::optional<double> trials_to_reach(std::span<const double> curve, double target);

/// \brief A number that is known exactly, or only to be at most or at least so much, because the
/// trials at hand did not reach the target.
struct Factor {
  enum class Kind { at_most, exact, at_least };
  double value = 0;
  Kind kind = Kind::exact;
};

/// \brief How many times fewer trials the curve `with` needs to reach the target than `without`.
/// \return nothing if neither gets there
[[nodiscard]] std::optional<Factor> saving(std::span<const double> without,
                                           std::span<const double> with, double target);

/// Trials of one gate with one local search.
struct BudgetGroup {
  std::string gate;
  std::string local_search;
  std::vector<Score> scores;
  std::vector<double> curve;  ///< expected_best of the scores
};

/// \brief Sorts trials into groups, in the order in which they come.
/// \throws std::invalid_argument for trials whose losses cannot be compared: of other data, another
///         split, other task weights or epochs, cut short by halving, or the same trial twice
[[nodiscard]] std::vector<BudgetGroup> budget_groups(std::span<const Trial> trials);

/// \brief What a local search saves a gate on its way to a loss.
struct Saving {
  std::string gate;
  std::string local_search;
  std::optional<int> budget;  ///< the target is what this many trials reach without the search
  double target = 0;
  std::optional<double> without;  ///< trials, if it gets there
  std::optional<double> with;
  std::optional<Factor> factor;
  std::optional<Factor> low, high;  ///< 95 % interval by a bootstrap over the trials of both
};

/// \brief The savings of every group with a local search whose gate has one without.
/// \param target  a loss; else what a quarter, half and all of the trials without the search reach,
///                in the bootstrap anew for every resample
[[nodiscard]] std::vector<Saving> savings(std::span<const BudgetGroup> groups,
                                          std::optional<double> target, int resamples,
                                          comet::RandomKey key);

[[nodiscard]] Json to_json(std::span<const BudgetGroup> groups, std::span<const Saving> savings);
[[nodiscard]] std::string curve_table(std::span<const BudgetGroup> groups);
[[nodiscard]] std::string saving_table(std::span<const Saving> savings);

}  // namespace programs
