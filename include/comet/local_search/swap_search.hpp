// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>
#include <comet/local_search/concepts.hpp>

namespace comet {

/// \brief Which improving move a local search takes.
enum class Improvement {
  first,  ///< the first one found: more moves for the same number of losses
  best,   ///< the best of the whole neighbourhood
};

/// Settings of a SwapSearch.
struct SwapSearchOptions {
  Index steps = 0;       ///< training steps after which the search ends, >= 1
  Index interval = 100;  ///< training steps between two searches, >= 1
  Index budget = 10000;  ///< losses evaluated in one search, >= 1
  Improvement improvement = Improvement::first;  ///< Which improving move is taken.
  Index max_block = 3;     ///< longest block that is moved as a whole, >= 0; 0 tries swaps only
  double tolerance = 0.0;  ///< a move must lower the loss by more than this, >= 0
};

/// \brief A move that was accepted.
struct SwapMove {
  /// What was moved.
  enum class Kind { swap, block };
  Index step;          ///< training step
  Kind kind;           ///< Whether two experts changed places or a block moved.
  Index first;         ///< slot i, or the first slot of the block
  Index second;        ///< slot j, or the slot the block moves to
  Index length;        ///< of the block; 1 for a swap
  double loss_before;  ///< The objective before the move.
  double loss_after;   ///< The objective after it.
};

/// \brief How a search ended.
enum class SwapStatus { not_started, converged, budget_spent };

/// \brief Local search over hard permutations: swaps of two experts, then moves of blocks, accepted
/// by the exact change of a held-out loss.
///
/// Every `interval` training steps: try all swaps (i, j), i < j; when no swap improves, try to move
/// blocks of 1..max_block neighbouring slots elsewhere; go on until nothing improves or the budget
/// is spent. A PermutationStrategy, as PermutationSearch is. Nothing is random: the same model
/// gives the same moves. One permutation is shared by all gates and selectors.
///
/// \par Cost  one loss per candidate: n (n-1) / 2 swaps and about max_block n^2 block moves per
///            pass
/// \tparam Objective  a PermutationObjective
template <class Objective>
class SwapSearch {
 public:
  using Move = SwapMove;      ///< A move that was accepted.
  using Status = SwapStatus;  ///< How a search ended.

  /// \throws std::invalid_argument if an option is outside its bounds
  SwapSearch(SwapSearchOptions options, Objective objective)
      : options_(validated(options)), objective_(std::move(objective)) {}

  /// The settings in use.
  [[nodiscard]] const SwapSearchOptions& options() const noexcept { return options_; }
  /// Training steps so far.
  [[nodiscard]] Index step() const noexcept { return step_; }
  /// Whether the search has ended.
  [[nodiscard]] bool finished() const noexcept { return step_ >= options_.steps; }
  /// The moves that were accepted, in order.
  [[nodiscard]] const std::vector<Move>& moves() const noexcept { return moves_; }
  /// How the last search ended.
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// Losses evaluated in all searches so far.
  [[nodiscard]] Index num_evaluations() const noexcept { return num_evaluations_; }
  /// None: the objective is the loss itself.
  [[nodiscard]] double regularization() const noexcept { return 0; }

  /// \brief Nothing to prepare: the gates keep their permutation during a step.
  /// \throws std::invalid_argument if the search has finished
  template <class Gates>
  void prepare(Gates& /*gates*/) {
    check_not_finished("SwapSearch::prepare");
  }
  /// Nothing: a hard search needs no gradient.
  void backward(const auto& /*gates*/, const auto& /*passes*/, const auto& /*gradients*/) {}

  /// \brief Ends a training step; searches when `interval` steps have passed, and at the last one.
  /// \throws std::invalid_argument if the search has finished
  template <class Gates>
  void advance(Gates& gates) {
    check_not_finished("SwapSearch::advance");
    ++step_;
    if (step_ % options_.interval == 0 || finished()) search(gates);
  }

  /// It has no parameters.
  void visit(const auto& /*f*/) const {}
  /// \brief The step reached. The permutation is the gates' state; moves() and num_evaluations()
  /// count from where a search goes on. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("step", std::span<std::int64_t>(&step_, 1));
  }
  /// \brief The step reached.
  template <class F>
  void visit_state(F&& f) const {
    f("step", std::span<const std::int64_t>(&step_, 1));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument unless 0 <= step <= steps
  void restored() const {
    detail::check_at_least("SwapSearch::restored", "step", step_, 0);
    detail::check_at_most("SwapSearch::restored", "step", step_, "steps", options_.steps);
  }

  /// \brief Searches now, from the permutation that the gates have.
  /// \throws std::invalid_argument unless there is a gate, and all of them have the same one
  /// \throws NotFinite if a loss is nan or -inf; the gates keep their permutation then
  template <class Gates>
  requires RelabelledGates<Gates> && PermutationObjective<Objective, Gates>
  void search(Gates& gates) {
    detail::check_at_least("SwapSearch::search", "gates.size()",
                           std::distance(std::begin(gates), std::end(gates)), 1);
    const Permutation& start = std::begin(gates)->permutations().front();
    for (const auto& gate : gates)
      for (const Permutation& each : gate.permutations())
        if (!std::ranges::equal(each.as_span(), start.as_span()))
          detail::raise("SwapSearch::search",
                        "the gates have different permutations, expected one for all of them");
    current_.assign(start.as_span().begin(), start.as_span().end());
    budget_left_ = options_.budget;
    objective_.start(gates);
    objective_.move_to(current_);
    loss_ = evaluate(current_);
    while (budget_left_ > 0 && (pass_over_swaps() || pass_over_blocks())) {
    }
    status_ = budget_left_ > 0 ? Status::converged : Status::budget_spent;
    for (auto& gate : gates) gate.set_permutations({Permutation(current_)});
  }

 private:
  static SwapSearchOptions validated(const SwapSearchOptions& options) {
    detail::check_at_least("SwapSearch", "steps", options.steps, 1);
    detail::check_at_least("SwapSearch", "interval", options.interval, 1);
    detail::check_at_least("SwapSearch", "budget", options.budget, 1);
    detail::check_at_least("SwapSearch", "max_block", options.max_block, 0);
    detail::check_not_negative("SwapSearch", "tolerance", options.tolerance);
    return options;
  }

  void check_not_finished(std::string_view where) const {
    if (finished())
      detail::raise(where, "the search finished at step " + std::to_string(step_) +
                               "; its permutation is fixed");
  }

  double evaluate(std::span<const ExpertId> candidate) {
    --budget_left_;
    ++num_evaluations_;
    const auto loss = double(objective_.loss(candidate));
    // Nothing compares with nan, and nothing improves on -inf: the search would seem to converge.
    if (std::isnan(loss) || loss == -std::numeric_limits<double>::infinity()) [[unlikely]]
      detail::raise_not_finite("SwapSearch::search", "the objective's loss",
                               std::isnan(loss) ? "is nan" : "is -inf");
    return loss;
  }

  /// One pass over the neighbourhood; true if a move was accepted.
  bool pass_over_swaps() {
    return pass(Move::Kind::swap, [&](auto&& consider) {
      const auto n = Index(current_.size());
      for (Index i = 0; i < n; ++i)
        for (Index j = i + 1; j < n; ++j)
          if (!consider(i, j, Index(1))) return;
    });
  }
  bool pass_over_blocks() {
    return pass(Move::Kind::block, [&](auto&& consider) {
      const auto n = Index(current_.size());
      for (Index length = 1; length <= std::min(options_.max_block, n - 1); ++length)
        for (Index i = 0; i + length <= n; ++i)
          for (Index j = 0; j + length <= n; ++j)
            // Moving one slot to its neighbour is a swap, which has been tried.
            if (j != i && !(length == 1 && std::abs(i - j) == 1) && !consider(i, j, length)) return;
    });
  }

  template <class Neighbourhood>
  bool pass(Move::Kind kind, Neighbourhood for_each_move) {
    bool improved = false;
    Move best{step_, kind, 0, 0, 0, loss_, loss_ - options_.tolerance};
    for_each_move([&](Index i, Index j, Index length) {
      if (budget_left_ == 0) return false;
      apply(kind, i, j, length, candidate_);
      const double loss = evaluate(candidate_);
      if (loss < best.loss_after) {
        best = {step_, kind, i, j, length, loss_, loss};
        if (options_.improvement == Improvement::first) {
          accept(best);
          best = {step_, kind, 0, 0, 0, loss_, loss_ - options_.tolerance};
          improved = true;
        }
      }
      return true;
    });
    if (best.length > 0) {
      accept(best);
      improved = true;
    }
    return improved;
  }

  void apply(Move::Kind kind, Index i, Index j, Index length, std::vector<ExpertId>& result) const {
    result = current_;
    if (kind == Move::Kind::swap) {
      std::swap(result[std::size_t(i)], result[std::size_t(j)]);
    } else if (j < i) {
      std::rotate(result.begin() + j, result.begin() + i, result.begin() + i + length);
    } else {
      std::rotate(result.begin() + i, result.begin() + i + length, result.begin() + j + length);
    }
  }

  void accept(const Move& move) {
    apply(move.kind, move.first, move.second, move.length, candidate_);
    current_ = candidate_;
    loss_ = move.loss_after;
    objective_.move_to(current_);
    moves_.push_back(move);
  }

  SwapSearchOptions options_;
  Objective objective_;
  std::int64_t step_ = 0;
  Status status_ = Status::not_started;
  Index num_evaluations_ = 0;
  Index budget_left_ = 0;
  double loss_ = 0;
  std::vector<ExpertId> current_;
  std::vector<ExpertId> candidate_;
  std::vector<Move> moves_;
};

}  // namespace comet
