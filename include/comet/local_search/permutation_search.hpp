// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/sinkhorn.hpp>

namespace comet {

/// Settings of a PermutationSearch, with defaults where there is a sensible one.
struct PermutationSearchOptions {
  Index steps = 0;            ///< T >= 2: soft for steps 1..T-1, a permutation from step T on
  Annealing annealing = {};   ///< how temperature and iterations change over the steps
  double entropy = 1e-4;      ///< strength zeta of the entropy penalty on P, >= 0
  double noise = 0.0;         ///< factor on Gumbel noise added to U / tau, >= 0
  bool per_task = false;      ///< one permutation per gate instead of one for all
  bool per_selector = false;  ///< one per tree or selector, for gates that have them
};

/// \brief Relaxed permutation search: learns the permutation by gradient while the model trains.
///
/// At step t = 1, 2, ... < T each gate mixes with P = Sinkhorn(U / tau(t)), L(t) iterations, and
/// the gradient reaches U through all of them; U belongs to the model's parameters and is trained
/// by its optimizer. The loss gains zeta (H(P) + H(R)), R being P with rows normalised. At step T,
/// P becomes the permutation that maximises sum_i P(i, pi(i)) and stays.   (Ibrahim et al., KDD
/// 2023)
///
/// Per training step, in this order (train_with_local_search() does it):
/// \code
///   search.prepare(layer.gates());     // this step's P goes to the gates
///   /* forward, loss, backward */
///   search.backward(layer.gates());    // their gradient by P becomes one by U
///   optimizer.step(model);             // model visits the search's parameters too
///   search.advance(layer.gates());     // counts; snaps at the end
/// \endcode
///
/// While P is soft every row of weights is dense: at most k experts per sample holds after the snap
/// only. U starts uniform in +-0.05: at the published first temperature, 1e-3, P is then already
/// close to a random permutation, and its gradient next to nothing. A search that starts warm,
///
///     .annealing = {.first_temperature = 0.1, .last_temperature = 1e-3, .first_iterations = 20,
///                   .last_iterations = 20}
///
/// starts from a nearly uniform P instead; on planted problems it found the true order every time,
/// and the published schedule never (examples/shuffled_slots.cpp).
///
/// \par Cost     per step and permutation 2 L n^2 multiply-adds forward and twice that backward,
///               and one assignment, O(n^3); memory as Sinkhorn
/// \tparam S     float or double, the scalar of the model; the search itself runs in double
/// \see SwapSearch, a search over permutations without relaxation
template <class S>
class PermutationSearch {
 public:
  using Scalar = S;  ///< float or double.

  /// \param gates  the PermutedGates that will be searched over, e.g. layer.gates()
  /// \throws std::invalid_argument if an option is outside its bounds or there is no gate
  template <class Gates>
  PermutationSearch(PermutationSearchOptions options, const Gates& gates, RandomKey key)
      : options_(validated(options)), noise_key_(key.fold(1)) {
    detail::check_at_least("PermutationSearch", "gates.size()", Index(std::size(gates)), 1);
    num_gates_ = Index(std::size(gates));
    const auto& first = *std::begin(gates);
    num_experts_ = first.num_experts();
    num_selectors_ = options_.per_selector ? first.num_selectors() : 1;
    const Index count = (options_.per_task ? num_gates_ : 1) * num_selectors_;
    for (Index i = 0; i < count; ++i) {
      Parameter<S> logits(num_experts_, num_experts_);
      key.fold(0).fold(std::uint64_t(i)).fill_uniform(logits.values, -0.05, 0.05);
      logits_.push_back(std::move(logits));
    }
    soft_.assign(std::size_t(count), Matrix<double>::Identity(num_experts_, num_experts_));
    hard_.assign(std::size_t(count), Permutation::identity(num_experts_));
    sinkhorn_.resize(std::size_t(count));
  }

  /// The settings in use.
  [[nodiscard]] const PermutationSearchOptions& options() const noexcept { return options_; }
  /// Steps advanced so far.
  [[nodiscard]] Index step() const noexcept { return step_; }
  /// True once the permutations are fixed.
  [[nodiscard]] bool finished() const noexcept { return step_ + 1 >= options_.steps; }
  /// The soft permutations of the last prepare(): row = slot, column = expert.
  [[nodiscard]] const std::vector<Matrix<double>>& soft() const noexcept { return soft_; }
  /// Their assignments; the identity before the first prepare().
  [[nodiscard]] const std::vector<Permutation>& permutations() const noexcept { return hard_; }

  /// \brief Computes this step's P and hands it to the gates.
  /// \throws std::invalid_argument if the search has finished or the gates are not those it is for
  template <class Gates>
  void prepare(Gates& gates) {
    constexpr const char* where = "PermutationSearch::prepare";
    check_gates(where, gates);
    if (finished())
      detail::raise(where, "the search finished at step " + std::to_string(step_) +
                               "; its permutations are fixed");
    const Index t = step_ + 1;
    const double temperature = options_.annealing.temperature(t, options_.steps);
    const SinkhornOptions sinkhorn{.temperature = temperature,
                                   .iterations = options_.annealing.iterations(t, options_.steps)};
    for (std::size_t i = 0; i < logits_.size(); ++i) {
      input_ = logits_[i].values.template cast<double>();
      if (options_.noise > 0) add_noise(t, i, temperature);
      soft_[i] = sinkhorn_[i].forward(input_, sinkhorn);
      assign(soft_[i], hard_[i]);
    }
    Index g = 0;
    for (auto& gate : gates) {
      gate.set_soft(std::span(soft_).subspan(first_of(g), std::size_t(num_selectors_)),
                    permutations_of(g));
      ++g;
    }
    prepared_ = true;
  }

  /// \brief Adds to the gradient of U what the gates' backward() found, and the penalty's.
  /// \throws std::invalid_argument if prepare() was not called for this step
  template <class Gates>
  void backward(Gates& gates) {
    constexpr const char* where = "PermutationSearch::backward";
    check_gates(where, gates);
    if (!prepared_) detail::raise(where, "prepare() was not called for this step");
    for (std::size_t i = 0; i < logits_.size(); ++i) {
      gradient_.setZero(num_experts_, num_experts_);
      Index g = 0;
      for (const auto& gate : gates) {
        if (!options_.per_task || g == Index(i) / num_selectors_)
          gate.add_soft_gradient(Index(i) % num_selectors_, gradient_);
        ++g;
      }
      if (options_.entropy > 0)
        add_permutation_entropy_gradient(soft_[i], options_.entropy, gradient_);
      input_.setZero(num_experts_, num_experts_);
      sinkhorn_[i].backward(gradient_, input_);
      logits_[i].gradients += input_.template cast<S>();
    }
  }

  /// \brief Ends the step; at the end of the search hands the gates their final permutations.
  template <class Gates>
  void advance(Gates& gates) {
    constexpr const char* where = "PermutationSearch::advance";
    check_gates(where, gates);
    if (!prepared_) detail::raise(where, "prepare() was not called for this step");
    prepared_ = false;
    ++step_;
    if (!finished()) return;
    Index g = 0;
    for (auto& gate : gates) {
      const auto list = permutations_of(g++);
      gate.set_permutations({list.begin(), list.end()});
    }
  }

  /// \brief zeta (H(P) + H(R)), summed over the permutations: part of the loss while soft.
  [[nodiscard]] double regularization() const {
    if (options_.entropy == 0 || finished()) return 0;
    double sum = 0;
    for (const auto& p : soft_) sum += permutation_entropy(p);
    return options_.entropy * sum;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    Index number = 0;
    for (auto& logits : logits_) {
      const ParameterName leaf("logits");
      logits.visit(ParameterName("permutations", number++, leaf), f);
    }
  }

  /// \brief Goes on from a checkpoint: the step reached and, if it had finished, the permutations.
  /// The parameters U are restored through visit_parameters().
  template <class Gates>
  void restore(Index step, std::vector<Permutation> permutations, Gates& gates) {
    constexpr const char* where = "PermutationSearch::restore";
    check_gates(where, gates);
    detail::check_at_least(where, "step", step, 0);
    detail::check_at_most(where, "step", step, "steps", options_.steps);
    detail::check_equal(where, "permutations.size()", Index(permutations.size()),
                        "number of permutations", Index(hard_.size()));
    step_ = step;
    prepared_ = false;
    hard_ = std::move(permutations);
    Index g = 0;
    for (auto& gate : gates) {
      const auto list = permutations_of(g++);
      gate.set_permutations({list.begin(), list.end()});
    }
  }

 private:
  static PermutationSearchOptions validated(const PermutationSearchOptions& options) {
    detail::check_at_least("PermutationSearch", "steps", options.steps, 2);
    options.annealing.validate();
    detail::check_not_negative("PermutationSearch", "entropy", options.entropy);
    detail::check_not_negative("PermutationSearch", "noise", options.noise);
    return options;
  }

  template <class Gates>
  void check_gates(std::string_view where, const Gates& gates) const {
    detail::check_equal(where, "gates.size()", Index(std::size(gates)), "that at construction",
                        num_gates_);
    for (const auto& gate : gates)
      detail::check_equal(where, "gate.num_experts()", gate.num_experts(), "that at construction",
                          num_experts_);
  }

  std::size_t first_of(Index gate) const {
    return std::size_t(options_.per_task ? gate * num_selectors_ : 0);
  }
  std::span<const Permutation> permutations_of(Index gate) const {
    return std::span(hard_).subspan(first_of(gate), std::size_t(num_selectors_));
  }

  // Allocates only if the assignment has changed.
  void assign(const Matrix<double>& soft, Permutation& hard) {
    const auto& experts = solver_.solve(soft, Goal::maximize).row_to_column;
    const auto current = hard.as_span();
    if (!std::equal(experts.begin(), experts.end(), current.begin(), current.end()))
      hard = Permutation({experts.begin(), experts.end()});
  }

  // Noise is a property of the step, so that a resumed run draws the same.
  void add_noise(Index t, std::size_t i, double temperature) {
    const RandomKey key = noise_key_.fold(std::uint64_t(t)).fold(i);
    std::uint64_t counter = 0;
    for (Index c = 0; c < num_experts_; ++c)
      for (Index r = 0; r < num_experts_; ++r) {
        const double gumbel = -std::log(-std::log1p(-key.uniform(counter++)));
        if (std::isfinite(gumbel)) input_(r, c) += options_.noise * gumbel * temperature;
      }
  }

  PermutationSearchOptions options_;
  RandomKey noise_key_;
  Index num_gates_ = 0;
  Index num_experts_ = 0;
  Index num_selectors_ = 1;
  std::vector<Parameter<S>> logits_;  // U of each permutation, n x n: row = slot, column = expert
  std::vector<Matrix<double>> soft_;
  std::vector<Permutation> hard_;
  std::vector<Sinkhorn> sinkhorn_;
  AssignmentSolver solver_;
  Matrix<double> input_;     // n x n
  Matrix<double> gradient_;  // n x n
  Index step_ = 0;
  bool prepared_ = false;
};

}  // namespace comet
