// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet {

/// \brief What a mask does to the weights of the experts that stay.
enum class MaskedWeights {
  shares,  ///< divides them by their sum: of a softmax, the softmax over those that stay
  kept,    ///< leaves them as they are: rows sum to less
};

/// \brief A gate that is kept to some of the experts: a mask of experts per task. Itself a gate.
///
///     g'_i = g_i / sum_{j stays} g_j  if i stays, else 0
///
/// The other experts get no sample and no gradient from this task. The gate inside does not know:
/// its penalties are over all experts, and one that selects before, like Top-k, may have selected
/// none that stays: such a row is empty. Gates that give every expert a share to begin with, like
/// softmax or COMET, learn to use what they may. It neither freezes nor explains.
///
/// \par Cost     the gate's, and O(1) per entry
/// \par Threads  const in route(), forward() and backward(); those of the pass are the gate's
/// \tparam G     a RoutingGate that trains or has no parameters
/// \see docs/math.md, equation (27)
template <class G>
class MaskedExperts {
  static_assert(RoutingGate<G>,
                "comet::MaskedExperts: the argument is not a gate (concept "
                "RoutingGate); see core/concepts.hpp");
  static_assert(TrainableGate<G> || !Parametric<G>,
                "comet::MaskedExperts: this gate has parameters but cannot be trained");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.

  /// \brief Scratch of a MaskedExperts.
  class Workspace {
    friend class MaskedExperts;
    Pass<G> inner_;
    Routing<S> whole_;             // what the gate said
    std::vector<S> sums_;          // per sample, what weights were divided by; 0 for an empty row
    AlignedVector<S> dwhole_;      // one per entry of whole_
    detail::GateForward forward_;  // that backward() may follow
  };

  /// \param experts  numbers of those that stay, one or more, in any order
  /// \throws std::invalid_argument if there is none, or one is out of range
  MaskedExperts(G gate, std::span<const ExpertId> experts,
                MaskedWeights weights = MaskedWeights::shares)
      : gate_(std::move(gate)), weights_(weights), stays_(std::size_t(gate_.num_experts()), 0) {
    detail::check_at_least("MaskedExperts", "experts.size()", Index(experts.size()), 1);
    for (const ExpertId expert : experts) {
      if (expert < 0 || expert >= num_experts()) [[unlikely]]
        detail::raise("MaskedExperts", "an expert", expert,
                      "in 0.." + std::to_string(num_experts() - 1));
      stays_[std::size_t(expert)] = 1;
    }
  }

  /// The gate inside.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  /// The gate inside.
  [[nodiscard]] G& gate() noexcept { return gate_; }
  /// \brief Whether an expert may have samples.
  /// \throws std::invalid_argument if there is no such expert
  [[nodiscard]] bool stays(ExpertId expert) const {
    detail::check_index("MaskedExperts::stays", "expert", expert, "num_experts",
                        Index(stays_.size()));
    return keeps(expert);
  }
  /// Number of experts n, those that do not stay among them.
  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const {
    return std::min(Index(gate_.max_active()), Index(std::count(stays_.begin(), stays_.end(), 1)));
  }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const requires requires(const G& g) { g.input_dim(); }
  { return gate_.input_dim(); }
  /// What the gate's kind is called.
  [[nodiscard]] std::string_view name() const { return gate_name(gate_); }
  /// What the gate can do of what is handed on.
  [[nodiscard]] GateCapabilities capabilities() const {
    const GateCapabilities inner = comet::capabilities(gate_);
    return {.trains = inner.trains, .anneals = inner.anneals, .loads = inner.loads};
  }
  /// Whether a sample's row depends on the others: as the gate's.
  [[nodiscard]] bool depends_on_batch() const { return comet::depends_on_batch(gate_); }

  /// \brief Routes as the gate does, to experts that stay. \see RoutingGate
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<MaskedExperts>& pass) const {
    Workspace& ws = start(pass);
    gate_.route(samples, ws.whole_, ws.inner_);
    mask(routing, ws);
  }
  /// \brief The same in training. \see TrainableGate
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<MaskedExperts>& pass) const {
    Workspace& ws = start(pass);
    if constexpr (TrainableGate<G>) {
      gate_.forward(samples, ws.whole_, key, ws.inner_);
    } else {
      gate_.route(samples, ws.whole_, ws.inner_);
    }
    mask(routing, ws);
    ws.forward_.set(identity_, samples, routing);
  }
  /// \brief Adds the gradients of the gate. \see TrainableGate
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<MaskedExperts>& pass) const {
    Workspace& ws = pass.workspace;
    samples.validate_backward("MaskedExperts::backward", routing, dweights, dx, ws.forward_,
                              identity_);
    if constexpr (TrainableGate<G>) {
      unmask(routing, dweights, ws);
      ws.inner_.borrow(pass.gradients(*this), pass);
      gate_.backward(samples, ws.whole_, std::span<const S>(ws.dwhole_), std::move(dx), ws.inner_);
    }
  }
  /// The penalty of the last forward(), over all experts.
  [[nodiscard]] S regularization(const Pass<MaskedExperts>& pass) const {
    if constexpr (TrainableGate<G>) return S(gate_.regularization(pass.workspace.inner_));
    return S(0);
  }

  /// \brief As the gate does. \see AnnealableGate
  void anneal(const GateAnnealing& settings) requires AnnealableGate<G> { gate_.anneal(settings); }
  /// \brief As the gate does, which takes the other experts for ones with an even load: that they
  /// have none is no reason to want them. What it is told is in proportion. \see LoadedGate
  void end_of_step(std::span<const Index> load) requires requires(G& gate) {
    gate.end_of_step(load);
  }
  { gate_.end_of_step(evened(load)); }
  /// \brief The same for a gate that needs the pass of the step's forward() as well.
  void end_of_step(std::span<const Index> load,
                   const Pass<MaskedExperts>& pass) requires LoadedGate<G> {
    const auto of_all = evened(load);
    comet::end_of_step(gate_, std::span(of_all), pass.workspace.inner_);
  }

  /// The gate's parameters.
  template <class F>
  void visit(F&& f) const {
    if constexpr (Parametric<G>) gate_.visit(f);
  }
  /// \brief The gate's state if it has any; the mask is a setting. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    if constexpr (detail::has_state<G>()) gate_.visit_state(f);
  }
  /// \brief The same of a gate that is not to be changed.
  template <class F>
  void visit_state(F&& f) const {
    if constexpr (detail::has_state<G>()) gate_.visit_state(f);
  }
  /// \brief Takes over what was written through visit_state().
  void restored() {
    if constexpr (detail::has_state<G>()) gate_.restored();
  }

 private:
  /// The same of an expert that has been checked.
  [[nodiscard]] bool keeps(ExpertId expert) const { return stays_[std::size_t(expert)] != 0; }

  /// The load times the number of experts that stay, and for each of the others their sum: whole
  /// numbers whose mean over all experts is that over those that stay.
  [[nodiscard]] std::vector<Index> evened(std::span<const Index> load) const {
    std::vector<Index> of_all(load.begin(), load.end());
    if (of_all.size() != stays_.size()) return of_all;  // the gate refuses it
    Index sum = 0;
    for (std::size_t i = 0; i < of_all.size(); ++i) sum += stays_[i] != 0 ? of_all[i] : 0;
    const auto count = Index(std::count(stays_.begin(), stays_.end(), 1));
    for (std::size_t i = 0; i < of_all.size(); ++i)
      of_all[i] = stays_[i] != 0 ? count * of_all[i] : sum;
    return of_all;
  }
  static Workspace& start(Pass<MaskedExperts>& pass) {
    pass.workspace.forward_.clear();
    pass.workspace.inner_.run_in(pass);
    return pass.workspace;
  }

  /// From the gate's rows to those of experts that stay.
  void mask(Routing<S>& routing, Workspace& ws) const {
    // Against the mask, not the gate: gate() may have become one of more experts.
    detail::check_experts("MaskedExperts: the gate inside", ws.whole_, Index(stays_.size()));
    routing.clear();
    ws.sums_.clear();
    for (Index b = 0; b < ws.whole_.num_samples(); ++b) {
      const auto experts = ws.whole_.experts(b);
      const auto weights = ws.whole_.weights(b);
      S sum = weights_ == MaskedWeights::kept ? S(1) : S(0);
      if (weights_ == MaskedWeights::shares)
        for (std::size_t i = 0; i < experts.size(); ++i)
          if (keeps(experts[i])) sum += weights[i];
      // A denormal sum would make infinite weights.
      const bool divides = sum >= std::numeric_limits<S>::min();
      for (std::size_t i = 0; divides && i < experts.size(); ++i)
        if (keeps(experts[i])) routing.push(experts[i], weights[i] / sum);
      routing.end_sample();
      ws.sums_.push_back(divides ? sum : S(0));
    }
  }

  /// From derivatives by the entries that stayed to those by the gate's.
  void unmask(const Routing<S>& routing, std::span<const S> dweights, Workspace& ws) const {
    ws.dwhole_.assign(std::size_t(ws.whole_.num_entries()), S(0));
    for (Index b = 0; b < routing.num_samples(); ++b) {
      const auto weights = routing.weights(b);
      const S* by = dweights.data() + routing.offsets()[std::size_t(b)];
      const S sum = ws.sums_[std::size_t(b)];
      if (sum == S(0)) continue;
      S mean = 0;
      if (weights_ == MaskedWeights::shares)
        for (std::size_t i = 0; i < weights.size(); ++i) mean += weights[i] * by[i];
      S* by_whole = ws.dwhole_.data() + ws.whole_.offsets()[std::size_t(b)];
      for (const ExpertId expert : ws.whole_.experts(b)) {
        if (keeps(expert)) *by_whole = (*by++ - mean) / sum;
        ++by_whole;
      }
    }
  }

  G gate_;
  MaskedWeights weights_;
  std::vector<std::uint8_t> stays_;  // n
  detail::Identity identity_;
};

}  // namespace comet
