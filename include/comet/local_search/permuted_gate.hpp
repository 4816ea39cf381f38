// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/local_search/detail/relabelling.hpp>
#include <comet/local_search/detail/soft_mixing.hpp>

namespace comet {

/// \brief A gate whose experts are relabelled: weight of slot i goes to expert pi(i). Itself a
/// gate, that can do what the gate inside can.
///
///     g'(l) = sum_i g(i) P(i, l)                                     (Ibrahim et al., KDD 2023)
///
/// P is a permutation, or, while a relaxed search is on, a soft one: then forward() mixes with the
/// soft P, whose rows of weights are dense, and backward() adds to its gradient in the pass;
/// route() always uses the permutation. A permutation costs one look-up per entry. A gate that is a
/// sum over selectors can have a P for each of them: g'(l) = sum_j sum_i g_j(i) P_j(i, l).
///
/// \code
///   MoeLayer layer(PermutedGate{gate}, experts);  // PermutedGate(gate) would declare a function
/// \endcode
/// \par Cost     per sample the gate's, plus O(entries log entries), or n^2 multiply-adds where soft
/// \par Threads  const in route(), forward() and backward(); those of the pass are the gate's
/// \tparam G     a RoutingGate, trainable or not: the wrapper is, so that a search can learn P
/// \see PermutationSearch, SwapSearch, train_with_local_search; docs/math.md, equation (29)
template <class G>
class PermutedGate {
  static_assert(RoutingGate<G>,
                "comet::PermutedGate: the argument is not a gate (concept RoutingGate): it needs "
                "Scalar, Workspace, num_experts(), max_active() and "
                "route(samples, routing, pass) const; see core/concepts.hpp");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.

  /// Scratch of a pass, and the gradient by a soft permutation.
  class Workspace {
    friend class PermutedGate;
    Pass<G> inner_;
    Routing<S> slots_;                 // what the gate said
    RowBuilder<S> row_;                // of one sample
    std::vector<std::int32_t> entry_;  // per slot entry, the entry of the row it went to
    AlignedVector<S> dslots_;          // one per slot entry
    detail::SoftMixing<S> mixing_;     // of the last soft forward()
    Matrix<S> soft_gradient_;          // n x slots
    std::uint64_t gradient_of_ = 0;    // the version of P that it belongs to
    detail::GateForward forward_;      // that backward() may follow
    std::uint64_t version_ = 0;        // of P in that forward()
  };

  /// The identity to begin with.
  explicit PermutedGate(G gate)
      : gate_(std::move(gate)), labels_(gate_.num_experts(), num_selectors()) {}

  /// The gate inside.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  /// Likewise.
  [[nodiscard]] G& gate() noexcept { return gate_; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  /// Of the hard form; rows hold every expert while a search is on.
  [[nodiscard]] Index max_active() const { return gate_.max_active(); }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const requires requires(const G& g) { g.input_dim(); }
  { return gate_.input_dim(); }
  /// What the gate's kind is called.
  [[nodiscard]] std::string_view name() const { return gate_name(gate_); }
  /// What the gate can do.
  [[nodiscard]] GateCapabilities capabilities() const { return comet::capabilities(gate_); }
  /// Whether a sample's row depends on the others: as the gate's.
  [[nodiscard]] bool depends_on_batch() const { return comet::depends_on_batch(gate_); }

  /// Number of permutations the gate can use: its selectors, or 1.
  [[nodiscard]] Index num_selectors() const {
    if constexpr (SelectorGate<G>)
      if (capabilities().selectors) return gate_.num_selectors();
    return 1;
  }
  /// The permutations in use: one for all selectors, or one per selector.
  [[nodiscard]] const std::vector<Permutation>& permutations() const noexcept {
    return labels_.permutations();
  }
  /// Whether forward() mixes by soft permutations.
  [[nodiscard]] bool is_soft() const noexcept { return soft_.size() > 0; }

  /// \brief Sets one permutation for all selectors, and ends a soft phase.
  /// \throws std::invalid_argument if its size is not num_experts()
  void set_permutation(const Permutation& permutation) { set_permutations({permutation}); }
  /// \brief Sets one permutation, or one per selector, and ends a soft phase.
  void set_permutations(std::vector<Permutation> permutations) {  // perhaps its own
    labels_.assign("PermutedGate::set_permutations", permutations);
    harden();
  }

  /// \brief Mixes with soft permutations from the next forward() on; `hard` are the permutations
  /// that route() uses meanwhile. Their gradient begins at zero, in every pass.
  /// \param soft  one n x n matrix, or one per selector: row = slot, column = expert; elements below the
  ///              square of S's rounding error count as 0
  /// \throws std::invalid_argument if a size does not fit
  void set_soft(std::span<const Matrix<double>> soft, std::span<const Permutation> hard);

  /// \brief Adds to `gradient`, n x n, the gradient by the j-th soft permutation that backward()
  /// has added up in this pass since set_soft().
  /// \throws std::invalid_argument if P is not soft, j is not one of its permutations, or the size
  ///         does not fit
  void add_soft_gradient(Index j, MatrixView<double> gradient,
                         const Pass<PermutedGate>& pass) const;

  /// \brief Routes by the permutation. \see RoutingGate
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<PermutedGate>& pass) const {
    Workspace& ws = start(pass);
    if (!labels_.is_shared()) {
      if constexpr (SelectorGate<G>) gate_.route_slots(samples, ws.slots_, ws.inner_);
    } else {
      gate_.route(samples, ws.slots_, ws.inner_);
    }
    relabel(routing, ws, [&](ExpertId slot) { return labels_.expert_of(slot); });
  }

  /// \brief Routes by the soft permutation, or else by the permutation.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<PermutedGate>& pass) const;

  /// \brief Adds the gradients of the gate, of dx and of the soft permutation.
  /// \throws std::invalid_argument if the pass holds no forward() of this batch by this P
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<PermutedGate>& pass) const;

  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Pass<PermutedGate>& pass) const {
    if constexpr (TrainableGate<G>) return S(gate_.regularization(pass.workspace.inner_));
    return S(0);
  }

  /// \brief The weights of each selector, relabelled. \see SelectorGate
  void route_slots(const Samples<S>& samples, Routing<S>& routing,
                   Pass<PermutedGate>& pass) const requires SelectorGate<G> {
    Workspace& ws = start(pass);
    gate_.route_slots(samples, ws.slots_, ws.inner_);
    relabel(routing, ws, [&](ExpertId slot) { return labels_.slot_of(slot); });
  }
  /// \brief The same in training. \throws std::invalid_argument while the permutation is soft
  void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                     Pass<PermutedGate>& pass) const requires SelectorGate<G> {
    Workspace& ws = start(pass);
    refuse_soft("PermutedGate::forward_slots");
    gate_.forward_slots(samples, ws.slots_, key, ws.inner_);
    relabel(routing, ws, [&](ExpertId slot) { return labels_.slot_of(slot); });
    ws.version_ = version_;
    ws.forward_.set(identity_, samples, routing);
  }

  /// \brief As the gate does. \see AnnealableGate
  void anneal(const GateAnnealing& settings) requires AnnealableGate<G> { gate_.anneal(settings); }
  /// \brief As the gate does. \see SplittingGate
  void split_evenly(const Samples<S>& samples, RandomKey key,
                    double deviation = 0.2) requires SplittingGate<G> {
    gate_.split_evenly(samples, key, deviation);
  }
  /// \brief As the gate does, with the permutations in the result, and those given behind them.
  /// \throws std::invalid_argument while the permutation is soft \see FreezableGate
  [[nodiscard]] auto freeze(std::span<const Permutation> then = {}) const requires
      FreezableGate<G> {
    refuse_soft("freeze");
    return gate_.freeze(labels_.composed(then));
  }
  /// \brief As the gate does, for the experts that the permutations lead to. \see ExplainableGate
  /// \throws std::invalid_argument while the permutation is soft
  [[nodiscard]] auto explain(const ConstMatrixView<S>& x, std::span<const Permutation> then = {},
                             const ExplainNames& names = {}) const requires ExplainableGate<G> {
    refuse_soft("explain");
    return gate_.explain(x, labels_.composed(then), names);
  }
  /// \brief Tells the gate the load of its slots. \see LoadedGate
  /// \throws std::invalid_argument if the selectors have permutations of their own
  void end_of_step(std::span<const Index> load) requires requires(G& gate) {
    gate.end_of_step(load);
  }
  { gate_.end_of_step(labels_.load_of_slots("PermutedGate::end_of_step", load)); }
  /// \brief The same for a gate that needs the pass of the step's forward() as well.
  void end_of_step(std::span<const Index> load,
                   const Pass<PermutedGate>& pass) requires LoadedGate<G> {
    const auto slots = labels_.load_of_slots("PermutedGate::end_of_step", load);
    comet::end_of_step(gate_, std::span(slots), pass.workspace.inner_);
  }

  /// \brief The gate's parameters; a soft P belongs to the search.
  template <class F>
  void visit(F&& f) const {
    if constexpr (Parametric<G>) gate_.visit(f);
  }

  /// \brief The gate's state if it has any, and the permutations: num_selectors() times n experts,
  /// -1 from the second permutation on where one serves all selectors. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    if constexpr (detail::has_state<G>()) gate_.visit_state(f);
    f("permutations", labels_.numbers());
  }
  /// The same.
  template <class F>
  void visit_state(F&& f) const {
    if constexpr (detail::has_state<G>()) gate_.visit_state(f);
    f("permutations", labels_.numbers());
  }
  /// \brief Takes over what was written through visit_state(); ends a soft phase.
  /// \throws std::invalid_argument if it is no list of permutations
  void restored() {
    if constexpr (detail::has_state<G>()) gate_.restored();
    labels_.restored();
    harden();
  }

 private:
  void harden() {
    soft_.resize(0, 0);
    ++version_;
  }

  void refuse_soft(std::string_view where) const {
    if (is_soft()) detail::raise(where, "the permutation is soft; end the search first");
  }

  static Workspace& start(Pass<PermutedGate>& pass) {
    pass.workspace.forward_.clear();
    pass.workspace.inner_.run_in(pass);
    return pass.workspace;
  }

  /// Rows under the new labels; slots with the same label share an entry.
  template <class Label>
  static void relabel(Routing<S>& routing, Workspace& ws, Label label) {
    const Routing<S>& slots = ws.slots_;
    ws.entry_.resize(std::size_t(slots.num_entries()));
    routing.clear();
    Index first = 0;
    for (Index b = 0; b < slots.num_samples(); ++b) {
      ws.row_.clear();
      const auto experts = slots.experts(b);
      const auto weights = slots.weights(b);
      for (std::size_t i = 0; i < experts.size(); ++i) ws.row_.add(label(experts[i]), weights[i]);
      ws.row_.end(routing, [&](Index i, Index entry) {
        ws.entry_[std::size_t(first + i)] = std::int32_t(entry);
      });
      first += Index(experts.size());
    }
  }

  G gate_;
  detail::Relabelling labels_;
  Matrix<S> soft_;             // n x slots: column = slot; empty unless a search is on
  std::uint64_t version_ = 0;  // counts how often P was set
  detail::Identity identity_;
};

template <class G>
void PermutedGate<G>::set_soft(std::span<const Matrix<double>> soft,
                               std::span<const Permutation> hard) {
  constexpr const char* where = "PermutedGate::set_soft";
  detail::check_equal(where, "soft.size()", Index(soft.size()), "number of permutations",
                      Index(hard.size()));
  const Index n = num_experts();
  for (const auto& matrix : soft) {
    detail::check_equal(where, "soft.rows()", matrix.rows(), "num_experts", n);
    detail::check_equal(where, "soft.cols()", matrix.cols(), "num_experts", n);
  }
  labels_.assign(where, hard);
  detail::stack_slots(soft, n, soft_);
  ++version_;
}

template <class G>
void PermutedGate<G>::add_soft_gradient(Index j, MatrixView<double> gradient,
                                        const Pass<PermutedGate>& pass) const {
  constexpr const char* where = "PermutedGate::add_soft_gradient";
  const Index n = num_experts();
  const auto selectors = Index(permutations().size());
  if (!is_soft()) detail::raise(where, "the permutation is not soft");
  detail::check_index(where, "j", j, "the number of permutations", selectors);
  detail::check_equal(where, "gradient.rows()", gradient.rows(), "num_experts", n);
  detail::check_equal(where, "gradient.cols()", gradient.cols(), "num_experts", n);
  if (pass.workspace.gradient_of_ != version_) return;  // no backward() since set_soft()
  for (Index i = 0; i < n; ++i)
    gradient.row(i) += pass.workspace.soft_gradient_.col(i * selectors + j).template cast<double>();
}

template <class G>
void PermutedGate<G>::forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                              Pass<PermutedGate>& pass) const {
  static_assert(TrainableGate<G> || !Parametric<G>,
                "comet::PermutedGate::forward: this gate has parameters but cannot be trained: it "
                "needs forward(samples, routing, key, pass) const, backward(samples, routing, "
                "dweights, dx, pass) const and regularization(pass) const");
  Workspace& ws = start(pass);
  if (!labels_.is_shared()) {
    if constexpr (SelectorGate<G>) gate_.forward_slots(samples, ws.slots_, key, ws.inner_);
  } else if constexpr (TrainableGate<G>) {
    gate_.forward(samples, ws.slots_, key, ws.inner_);
  } else {
    gate_.route(samples, ws.slots_, ws.inner_);
  }
  if (is_soft()) {
    ws.mixing_.forward(soft_, samples, ws.slots_, routing);
  } else {
    relabel(routing, ws, [&](ExpertId slot) { return labels_.expert_of(slot); });
  }
  ws.version_ = version_;
  ws.forward_.set(identity_, samples, routing);
}

template <class G>
void PermutedGate<G>::backward(const Samples<S>& samples, const Routing<S>& routing,
                               std::span<const S> dweights, MatrixView<S> dx,
                               Pass<PermutedGate>& pass) const {
  constexpr const char* where = "PermutedGate::backward";
  Workspace& ws = pass.workspace;
  samples.validate_backward(where, routing, dweights, dx, ws.forward_, identity_);
  if (ws.version_ != version_) detail::raise(where, "the permutation has changed since forward()");
  ws.dslots_.resize(std::size_t(ws.slots_.num_entries()));
  if (is_soft()) {
    ws.mixing_.backward(soft_, ws.slots_, routing, dweights, ws.dslots_);
  } else {
    for (std::size_t i = 0; i < ws.dslots_.size(); ++i)
      ws.dslots_[i] = dweights[std::size_t(ws.entry_[i])];
  }
  if constexpr (TrainableGate<G>) {
    ws.inner_.borrow(pass.gradients(*this), pass);
    gate_.backward(samples, ws.slots_, std::span<const S>(ws.dslots_), std::move(dx), ws.inner_);
  }
  if (!is_soft()) return;
  if (std::exchange(ws.gradient_of_, version_) != version_)
    ws.soft_gradient_.setZero(soft_.rows(), soft_.cols());
  ws.mixing_.add_gradient(ws.soft_gradient_);
}

}  // namespace comet
