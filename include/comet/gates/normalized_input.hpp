// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/kernels/layer_norm.hpp>

namespace comet {

/// Settings of a NormalizedInput.
struct NormalizedInputOptions {
  bool unit_length = false;  ///< Whether it is divided by sqrt(d) too, so that its length is 1.
  double epsilon = 1e-5;     ///< > 0, added to the variance
};

/// \brief A gate whose input is normalised: every sample gets mean 0 and variance 1, without
/// parameters (Ba, Kiros and Hinton, 2016). Itself a gate, that can do what the gate inside can.
///
/// A gate sees the scale of its input. Where that is near 0, as with embeddings that have just been
/// drawn, its biases decide alone and every sample goes to the same experts. The experts' input
/// stays as it is.
///
/// \code
///   MoeLayer layer(NormalizedInput{gate}, experts);  // NormalizedInput(gate) declares a function
/// \endcode
/// \par Cost     the gate's, plus about 8 d operations per sample, 16 d backward
/// \par Threads  const; those of the pass share the work. Bits depend neither on the batch, unless
///               the gate's do, nor on the threads.
/// \tparam G     a RoutingGate
/// \see docs/math.md, equation (28)
template <class G>
class NormalizedInput {
  static_assert(RoutingGate<G>,
                "comet::NormalizedInput: the argument is not a gate (concept RoutingGate): it "
                "needs Scalar, Workspace, num_experts(), max_active() and "
                "route(samples, routing, pass) const; see core/concepts.hpp");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.

  /// Scratch of a pass.
  class Workspace {
    friend class NormalizedInput;
    Pass<G> inner_;
    Buffer<S> features_;           // d x B, normalised
    Buffer<S> gradient_;           // d x B, by them
    AlignedVector<S> factor_;      // B, as normalize() returned them
    detail::GateForward forward_;  // that backward() may follow
  };

  /// \throws std::invalid_argument if epsilon is not a finite number > 0
  explicit NormalizedInput(G gate, NormalizedInputOptions options = {})
      : gate_(std::move(gate)), options_(options) {
    detail::check_positive("NormalizedInput", "epsilon", double(S(options.epsilon)));
  }

  /// The gate inside.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  /// The gate inside.
  [[nodiscard]] G& gate() noexcept { return gate_; }
  /// The settings in use.
  [[nodiscard]] const NormalizedInputOptions& options() const noexcept { return options_; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  /// As the gate's.
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

  /// \brief As the gate does, for the normalised input. \see RoutingGate
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<NormalizedInput>& pass) const {
    gate_.route(normalized("NormalizedInput::route", samples, pass), routing,
                pass.workspace.inner_);
  }
  /// \brief As the gate does, for the normalised input. \see TrainableGate
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<NormalizedInput>& pass) const requires TrainableGate<G> {
    gate_.forward(normalized("NormalizedInput::forward", samples, pass), routing, key,
                  pass.workspace.inner_);
    pass.workspace.forward_.set(identity_, samples, routing);
  }
  /// \brief Adds the gradients of the gate, and dx through the normalisation.
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<NormalizedInput>& pass) const requires TrainableGate<G>;
  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Pass<NormalizedInput>& pass) const requires
      TrainableGate<G> {
    return S(gate_.regularization(pass.workspace.inner_));
  }

  /// \brief As the gate's. \see SelectorGate
  [[nodiscard]] Index num_selectors() const requires SelectorGate<G> {
    return gate_.num_selectors();
  }
  /// \brief As the gate does, for the normalised input. \see SelectorGate
  void route_slots(const Samples<S>& samples, Routing<S>& routing,
                   Pass<NormalizedInput>& pass) const requires SelectorGate<G> {
    gate_.route_slots(normalized("NormalizedInput::route_slots", samples, pass), routing,
                      pass.workspace.inner_);
  }
  /// \brief As the gate does, for the normalised input. \see SelectorGate
  void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                     Pass<NormalizedInput>& pass) const requires SelectorGate<G> {
    gate_.forward_slots(normalized("NormalizedInput::forward_slots", samples, pass), routing, key,
                        pass.workspace.inner_);
    pass.workspace.forward_.set(identity_, samples, routing);
  }

  /// \brief As the gate does. \see AnnealableGate
  void anneal(const GateAnnealing& settings) requires AnnealableGate<G> { gate_.anneal(settings); }
  /// \brief As the gate does, for the normalised input. \see SplittingGate
  void split_evenly(const Samples<S>& samples, RandomKey key,
                    double deviation = 0.2) requires SplittingGate<G> {
    Pass<NormalizedInput> pass(*this);
    gate_.split_evenly(normalized("NormalizedInput::split_evenly", samples, pass), key, deviation);
  }
  /// \brief As the gate does: the frozen gate, its input normalised. \see FreezableGate
  [[nodiscard]] auto freeze(std::span<const Permutation> permutations = {}) const requires
      FreezableGate<G> {
    auto frozen = gate_.freeze(permutations);
    return NormalizedInput<decltype(frozen)>(std::move(frozen), options_);
  }
  /// \brief As the gate does; it speaks of normalised features, and so does its distance.
  /// \see ExplainableGate
  [[nodiscard]] auto explain(const ConstMatrixView<S>& x,
                             std::span<const Permutation> permutations = {},
                             const ExplainNames& names = {}) const requires ExplainableGate<G> {
    Matrix<S> features(x.rows(), x.cols());
    for (Index b = 0; b < x.cols(); ++b) normalize(x.col(b).data(), features.col(b));
    return gate_.explain(features, permutations, names);
  }
  /// \brief As the gate does. \see LoadedGate
  void end_of_step(std::span<const Index> load) requires requires(G& gate) {
    gate.end_of_step(load);
  }
  { gate_.end_of_step(load); }
  /// \brief The same for a gate that needs the pass of the step's forward() as well.
  void end_of_step(std::span<const Index> load,
                   const Pass<NormalizedInput>& pass) requires LoadedGate<G> {
    comet::end_of_step(gate_, load, pass.workspace.inner_);
  }

  /// \brief The gate's parameters.
  template <class F>
  void visit(F&& f) const requires Parametric<G> {
    gate_.visit(f);
  }
  /// \brief The gate's state. \see Stateful
  template <class F>
  void visit_state(F&& f) requires(detail::has_state<G>()) {
    gate_.visit_state(f);
  }
  /// \brief The gate's state. \see Stateful
  template <class F>
  void visit_state(F&& f) const requires(detail::has_state<G>()) {
    gate_.visit_state(f);
  }
  /// \brief Takes over what was written through visit_state().
  void restored() requires(detail::has_state<G>()) { gate_.restored(); }

 private:
  [[nodiscard]] S scale(Index d) const {
    return options_.unit_length ? S(1 / std::sqrt(double(d))) : S(1);
  }
  template <class Column>
  S normalize(const S* x, Column&& out) const {
    return detail::normalize(out.rows(), S(options_.epsilon), scale(out.rows()), x, out.data());
  }

  static ThreadPool* threads_for(const Samples<S>& samples, const Pass<NormalizedInput>& pass) {
    return detail::worth_threads(pass.pool, 16.0 * double(samples.size()) * double(samples.dim()));
  }

  /// The same samples with other features; those of padding are 0.
  Samples<S> normalized(std::string_view where, const Samples<S>& samples,
                        Pass<NormalizedInput>& pass) const {
    Workspace& ws = pass.workspace;
    ws.forward_.clear();
    ws.inner_.run_in(pass);
    samples.validate(where);
    auto features = ws.features_.shape(samples.dim(), samples.size());
    ws.factor_.resize(std::size_t(samples.size()));
    detail::for_each_sample(threads_for(samples, pass), samples.size(), [&](Index b) {
      if (samples.is_live(b)) {
        ws.factor_[std::size_t(b)] = normalize(samples.features.col(b).data(), features.col(b));
      } else {
        features.col(b).setZero();
      }
    });
    return samples.with_features(features);
  }

  G gate_;
  NormalizedInputOptions options_;
  detail::Identity identity_;
};

template <class G>
void NormalizedInput<G>::backward(const Samples<S>& samples, const Routing<S>& routing,
                                  std::span<const S> dweights, MatrixView<S> dx,
                                  Pass<NormalizedInput>& pass) const requires TrainableGate<G> {
  Workspace& ws = pass.workspace;
  samples.validate_backward("NormalizedInput::backward", routing, dweights, dx, ws.forward_,
                            identity_);
  ws.inner_.borrow(pass.gradients(*this), pass);
  const auto features = ws.features_.matrix();
  const Samples<S> inner = samples.with_features(features);
  if (dx.size() == 0) return gate_.backward(inner, routing, dweights, no_gradient, ws.inner_);
  auto gradient = ws.gradient_.shape(samples.dim(), samples.size());
  gradient.setZero();
  gate_.backward(inner, routing, dweights, gradient, ws.inner_);
  detail::for_each_sample(threads_for(samples, pass), samples.size(), [&](Index b) {
    if (!samples.is_live(b)) return;
    detail::add_normalize_backward(samples.dim(), scale(samples.dim()), ws.factor_[std::size_t(b)],
                                   features.col(b).data(), gradient.col(b).data(),
                                   dx.col(b).data());
  });
}

}  // namespace comet
