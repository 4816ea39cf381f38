// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <ranges>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/concepts.hpp>
#include <comet/local_search/sinkhorn.hpp>

namespace comet {

/// Settings of a PermutationSearch.
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
/// Per training step, in this order (train_with_local_search() does the first and the last):
/// \code
///   search.prepare(layer.gates());     // this step's P goes to the gates
///   /* forward, loss, backward */
///   search.backward(layer.gates(), pass.workspace.gates(), gradients);  // from P to U
///   adam.step(model, all_gradients);   // U is visited by the search, as a part of the model
///   search.advance(layer.gates());     // counts; snaps at the end
/// \endcode
///
/// While P is soft every row of weights is dense: at most k experts per sample holds after the snap
/// only. U starts uniform in +-0.05.
///
/// On ranks that share a batch each of them has a search, made with the same options and key. The
/// gradient of U is then one of the samples here and of a share of the penalty: summed over ranks
/// with those of the gates, by reduce_gradients(), it is whole, and all ranks have the same P and
/// end in the same permutation.
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
  template <RelabelledGates Gates>
  PermutationSearch(PermutationSearchOptions options, const Gates& gates, RandomKey key)
      : options_(validated(options)), noise_key_(key.fold(1)) {
    detail::check_at_least("PermutationSearch", "gates.size()", Index(std::size(gates)), 1);
    num_gates_ = Index(std::size(gates));
    const auto& first = *std::begin(gates);
    num_experts_ = first.num_experts();
    num_selectors_ = options_.per_selector ? first.num_selectors() : 1;
    for (const auto& gate : gates) check_selectors(gate);
    const Index count = (options_.per_task ? num_gates_ : 1) * num_selectors_;
    for (Index i = 0; i < count; ++i) {
      auto& logits = learned_.emplace_back().logits = Parameter<S>(num_experts_, num_experts_);
      key.fold(0).fold(std::uint64_t(i)).fill_uniform(logits, -0.05, 0.05);
    }
    soft_.assign(std::size_t(count), Matrix<double>::Identity(num_experts_, num_experts_));
    hard_.assign(std::size_t(count), Permutation::identity(num_experts_));
    sinkhorn_.resize(std::size_t(count));
    store();
  }

  /// The settings in use.
  [[nodiscard]] const PermutationSearchOptions& options() const noexcept { return options_; }
  /// Steps advanced so far.
  [[nodiscard]] Index step() const noexcept { return Index(step_); }
  /// True once the permutations are fixed.
  [[nodiscard]] bool finished() const noexcept { return step_ + 1 >= options_.steps; }
  /// The soft permutations of the last prepare(): row = slot, column = expert.
  [[nodiscard]] const std::vector<Matrix<double>>& soft() const noexcept { return soft_; }
  /// Their assignments; the identity before the first prepare().
  [[nodiscard]] const std::vector<Permutation>& permutations() const noexcept { return hard_; }

  /// \brief Computes this step's P and hands it to the gates.
  /// \throws std::invalid_argument if the search has finished or the gates are not those it is for
  template <RelabelledGates Gates>
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
    for (std::size_t i = 0; i < learned_.size(); ++i) {
      input_ = learned_[i].logits.template cast<double>();
      if (options_.noise > 0) add_noise(t, i, temperature);
      soft_[i] = sinkhorn_[i].forward(input_, sinkhorn);
      assign(soft_[i], hard_[i]);
    }
    store();
    Index g = 0;
    for (auto& gate : gates) {
      gate.set_soft(std::span(soft_).subspan(first_of(g), std::size_t(num_selectors_)),
                    permutations_of(g));
      ++g;
    }
    stage_ = Stage::prepared;
  }

  /// \brief Adds to the gradient of U what the gates' backward() found, and the penalty's; nothing
  /// once the search has finished. Where ranks share the batch, of the penalty only as much as has
  /// to be summed over them.
  /// \param passes     of the gates, in their order
  /// \param gradients  those of the search's own tensors, one per U
  /// \throws std::invalid_argument if prepare() was not called for this step
  template <RelabelledGates Gates, class Passes>
  void backward(const Gates& gates, const Passes& passes, GradientView<S> gradients) {
    constexpr const char* where = "PermutationSearch::backward";
    check_gates(where, gates);
    if (finished()) return;
    if (stage_ == Stage::idle) detail::raise(where, "prepare() was not called for this step");
    detail::check_equal(where, "passes.size()", Index(std::size(passes)), "gates.size()",
                        num_gates_);
    gradients.validate(where, *this);
    const double entropy = entropy_here(*std::begin(passes));
    for (std::size_t i = 0; i < learned_.size(); ++i) {
      gradient_.setZero(num_experts_, num_experts_);
      Index g = 0;
      auto pass = std::begin(passes);
      for (const auto& gate : gates) {
        if (!options_.per_task || g == Index(i) / num_selectors_)
          gate.add_soft_gradient(Index(i) % num_selectors_, gradient_, *pass);
        ++g;
        ++pass;
      }
      if (entropy > 0) add_permutation_entropy_gradient(soft_[i], entropy, gradient_);
      input_.setZero(num_experts_, num_experts_);
      sinkhorn_[i].backward(gradient_, input_);
      gradients[Index(i)] += input_.template cast<S>();
    }
    stage_ = Stage::learned;
  }

  /// \brief Ends the step; at the end of the search hands the gates their final permutations.
  /// \throws std::invalid_argument if backward() was not called for this step
  template <RelabelledGates Gates>
  void advance(Gates& gates) {
    constexpr const char* where = "PermutationSearch::advance";
    check_gates(where, gates);
    if (stage_ == Stage::idle) detail::raise(where, "prepare() was not called for this step");
    if (stage_ == Stage::prepared) detail::raise(where, "backward() was not called for this step");
    stage_ = Stage::idle;
    ++step_;
    if (!finished()) return;
    Index g = 0;
    for (auto& gate : gates) {
      const auto list = permutations_of(g++);
      gate.set_permutations({list.begin(), list.end()});
    }
  }

  /// \brief zeta (H(P) + H(R)), summed over the permutations: part of the loss while soft, and the
  /// whole of it on every rank.
  [[nodiscard]] double regularization() const {
    if (options_.entropy == 0 || finished()) return 0;
    double sum = 0;
    for (const auto& p : soft_) sum += permutation_entropy(p);
    return options_.entropy * sum;
  }

  /// Calls f("permutations", list): each has the tensor "logits", its U.
  template <class F>
  void visit(F&& f) const {
    f("permutations", learned_);
  }

  /// \brief The step reached, and permutations(). Those of the gates are the gates' state.
  /// \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("step", std::span<std::int64_t>(&step_, 1));
    f("permutations", std::span<ExpertId>(numbers_));
  }
  /// \brief The step reached, and permutations().
  template <class F>
  void visit_state(F&& f) const {
    f("step", std::span<const std::int64_t>(&step_, 1));
    f("permutations", std::span<const ExpertId>(numbers_));
  }
  /// \brief Takes over what was written through visit_state(); goes on with the next step.
  /// \throws std::invalid_argument unless 0 <= step <= steps and the numbers are permutations
  void restored() {
    constexpr const char* where = "PermutationSearch::restored";
    detail::check_at_least(where, "step", step_, 0);
    detail::check_at_most(where, "step", step_, "steps", options_.steps);
    auto next = numbers_.begin();
    for (Permutation& hard : hard_) {
      hard = Permutation(std::vector<ExpertId>(next, next + num_experts_));
      next += num_experts_;
    }
    stage_ = Stage::idle;
  }

 private:
  /// U of one permutation, n x n: row = slot, column = expert.
  struct Learned {
    Parameter<S> logits;
    template <class F>
    void visit(F&& f) const {
      f("logits", logits);
    }
  };
  /// Of a step.
  enum class Stage { idle, prepared, learned };

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

  template <class G>
  void check_selectors(const G& gate) const {
    if (!options_.per_selector) return;
    if (!capabilities(gate).selectors)
      detail::raise("PermutationSearch", "per_selector is set, but " +
                                             detail::a_gate(gate_name(gate)) +
                                             " has no selectors to be permuted one by one");
    detail::check_equal("PermutationSearch", "gate.num_selectors()", gate.num_selectors(),
                        "that of the first gate", num_selectors_);
  }

  void store() {
    numbers_.resize(hard_.size() * std::size_t(num_experts_));
    auto place = numbers_.begin();
    for (const Permutation& p : hard_)
      place = std::copy(p.as_span().begin(), p.as_span().end(), place);
  }

  /// The part of zeta that falls to this rank: every rank has P, and the penalty counts once.
  template <class P>
  [[nodiscard]] double entropy_here(const P& pass) const {
    if (options_.entropy == 0 || !pass.rank_sum) return options_.entropy;
    return options_.entropy / pass.rank_sum(1.0);
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
  std::vector<Learned> learned_;  // per permutation, as all that follow
  std::vector<Matrix<double>> soft_;
  std::vector<Permutation> hard_;
  std::vector<ExpertId> numbers_;  // the same as numbers, for files
  std::vector<Sinkhorn> sinkhorn_;
  AssignmentSolver solver_;
  Matrix<double> input_;     // n x n
  Matrix<double> gradient_;  // n x n
  std::int64_t step_ = 0;
  Stage stage_ = Stage::idle;
};

template <class Gates>
PermutationSearch(PermutationSearchOptions, const Gates&, RandomKey)
    -> PermutationSearch<typename std::ranges::range_value_t<Gates>::Scalar>;

}  // namespace comet
