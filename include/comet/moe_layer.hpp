// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/fingerprint.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/layer_shapes.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/bank.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet {

/// \brief A mixture of shared experts with one gate per task, evaluated only where a weight is
/// not 0.
///
///     y_t(:, b) = sum_i g_t(i, b) f_i(x(:, b))        for tasks t = 0..T-1
///
/// Legend: B samples, d features, n experts, m outputs of an expert, T tasks. Outputs of all tasks
/// are one m x (T B) matrix: task t has columns t B .. (t+1) B - 1.
///
/// A pair (expert, sample) with weight 0 in every task is not evaluated, forward or backward; one
/// that several tasks use is evaluated once. Outputs and gradients equal those of evaluating every
/// expert for every sample, to rounding, whatever the routing: rows may be empty or full.
///
/// The layer is four stages, each usable alone: the gates' rows become a plan (DispatchPlan), the
/// samples are gathered by it (gather; here they stay until a block of an expert wants them:
/// Columns::leave_in), a bank runs the experts on them (ExpertBank), their outputs are combined
/// (combine); and back. A layer of another build is written from the same stages:
/// examples/shared_expert.cpp, two_kinds.cpp, own_layer.cpp.
///
/// Every sum over experts runs in ascending order of the expert. So results are the same bits for
/// any number of threads, and in predict() a sample's bits do not depend on its batch, unless a
/// gate's do.
///
/// \code
///   MoeLayer layer(CometGate<float>({.input_dim = 64, .num_experts = 16, .k = 2}, key.fold(0)),
///                  make_experts<DenseExpert<float>>(16, {.input_dim = 64, .output_dim = 32},
///                                                   key.fold(1)));
///   Pass pass(layer);
///   layer.forward(x, y, key.fold(2).fold(step), pass);
/// \endcode
/// \par Cost     experts: their cost() per active pair, twice that backward; scratch: m scalars
///               per active pair, and d, in training d + m, per column that a thread is at
/// \par Threads  const; one Pass per calling thread, whose pool spreads a call over its threads
/// \tparam G     a RoutingGate; to train, a TrainableGate or a gate without parameters
/// \tparam E     a PredictingExpert; to train, a TrainableExpert
/// \see docs/math.md, equation (1)
template <class G, class E>
class MoeLayer {
  static_assert(RoutingGate<G>,
                "comet::MoeLayer: the first argument is not a gate (concept RoutingGate): it needs "
                "Scalar, Workspace, "
                "num_experts(), max_active() and route(samples, routing, pass) const; "
                "see core/concepts.hpp");
  static_assert(PredictingExpert<E>,
                "comet::MoeLayer: the second argument is not an expert (concept PredictingExpert): "
                "it needs Scalar, input_dim(), output_dim(), cache_dim(), cost() and predict; to "
                "be trained (concept TrainableExpert) also forward, visit and a backward pass; see "
                "core/concepts.hpp");
  static_assert(std::same_as<typename G::Scalar, typename E::Scalar>,
                "comet::MoeLayer: gate and expert have different scalar types");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  class Workspace;

  /// \param gates    one per task, T >= 1, all for the same number of experts
  /// \param experts  n >= 1, all of the same input and output sizes
  /// \throws std::invalid_argument if the parts do not fit together
  MoeLayer(std::vector<G> gates, std::vector<E> experts)
      : gates_(std::move(gates)), bank_(std::move(experts)) {
    check_gates("MoeLayer");
  }
  /// \brief The same for one task.
  MoeLayer(G gate, std::vector<E> experts)
      : MoeLayer(std::vector<G>(1, std::move(gate)), std::move(experts)) {}

  /// Number of tasks T.
  [[nodiscard]] Index num_tasks() const noexcept { return Index(gates_.size()); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return bank_.size(); }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return bank_.input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return bank_.output_dim(); }
  /// One per task.
  [[nodiscard]] const std::vector<G>& gates() const noexcept { return gates_; }
  /// One per task: each may be replaced by one for as many experts, between backward() and forward().
  [[nodiscard]] std::vector<G>& gates() noexcept { return gates_; }
  /// The experts, n of them.
  [[nodiscard]] const std::vector<E>& experts() const noexcept { return bank_.experts(); }
  /// The experts, n of them: each may be replaced by one of the same sizes.
  [[nodiscard]] std::vector<E>& experts() noexcept { return bank_.experts(); }

  /// \brief y = the mixtures of all tasks, without dropout or noise.
  /// \param samples  x, d x B; ids where a gate wants them; a masked sample's mixtures are 0
  /// \param y        m x (T B), overwritten
  /// \throws std::invalid_argument if a shape does not fit
  /// \throws NotFinite if a feature or a logit is not finite
  void predict(const Samples<S>& samples, MatrixView<S> y, Pass<MoeLayer>& pass) const;

  /// \brief predict() in training: with dropout and noise drawn from `key`, leaving in the pass
  /// what backward() needs.
  /// \param key  of this step, e.g. RandomKey(seed).fold(step)
  void forward(const Samples<S>& samples, MatrixView<S> y, RandomKey key,
               Pass<MoeLayer>& pass) const;

  /// \brief Adds the gradients of sum(dy . y) + regularization() of the last forward().
  /// \param samples  as in forward()
  /// \param dy       m x (T B)
  /// \param dx       d x B, added to; no_gradient saves its cost
  /// \throws std::invalid_argument unless the pass holds a forward() of this layer, which has not
  ///         been assigned to since, and of these samples: one backward() uses it up
  ///
  /// If an expert or a gate throws midway, what the pass's gradients and dx have been added to is
  /// unspecified: set them to zero before they are used again.
  void backward(const Samples<S>& samples, const ConstMatrixView<S>& dy, MatrixView<S> dx,
                Pass<MoeLayer>& pass) const;
  /// \brief The same without the gradient by x.
  void backward(const Samples<S>& samples, const ConstMatrixView<S>& dy,
                Pass<MoeLayer>& pass) const {
    backward(samples, dy, no_gradient, pass);
  }

  /// \brief Sum of the gates' penalties in the last forward(): part of the loss. 0 before the first.
  [[nodiscard]] S regularization(const Pass<MoeLayer>& pass) const {
    S sum = 0;
    if constexpr (TrainableGate<G>)
      for (std::size_t t = 0; t < std::min(gates_.size(), pass.workspace.gates_.size()); ++t)
        sum += gates_[t].regularization(pass.workspace.gates_[t]);
    return sum;
  }

  /// \brief A layer that only predicts, its experts' weights kept as told; with Storage::full it
  /// gives the bits of predict().
  /// \throws std::invalid_argument from a gate that cannot be frozen; see freeze
  /// \throws NotFinite naming a parameter that is not finite
  [[nodiscard]] auto freeze(Storage storage = Storage::full) const requires FreezableGate<G> &&
      FreezableExpert<E> {
    for_each_parameter(bank_, [](const ParameterName& name, const auto& values) {
      detail::check_finite<S>("freeze", name.str(), values);
    });
    std::vector<decltype(gates_[0].freeze({}))> gates;
    for (const G& gate : gates_) gates.push_back(gate.freeze({}));
    std::vector<decltype(experts()[0].freeze(storage))> frozen;
    for (const E& expert : experts()) frozen.push_back(expert.freeze(storage));
    return MoeLayer<typename decltype(gates)::value_type, typename decltype(frozen)::value_type>(
        std::move(gates), std::move(frozen));
  }

  /// Calls f(name, part) for the experts and the gates.
  template <class F>
  void visit(F&& f) const {
    if constexpr (Parametric<E>) f("experts", bank_.experts());
    if constexpr (Parametric<G>) f("gates", gates_);
  }

 private:
  void check_gates(std::string_view where) const {
    detail::check_gates(where, gates_, "experts.size()", num_experts());
  }

  /// What comes before the experts run, after the gates have.
  void dispatch(const char* where, const Samples<S>& samples, Pass<MoeLayer>& pass) const {
    auto& ws = pass.workspace;
    detail::check_equal(where, "routing.num_samples()", ws.routings_.front().num_samples(),
                        "x.cols()", samples.size());
    ws.plan_.build(std::span<const Routing<S>>(ws.routings_), num_experts(),
                   bank_.column_multiple());
    ws.columns_.leave_in(samples.features, ws.plan_);
  }

  std::vector<G> gates_;  // T
  ExpertBank<E> bank_;    // n
  detail::Identity identity_;
};

/// \brief Scratch of a MoeLayer and, after forward() or predict(), the routings that were used.
template <class G, class E>
class MoeLayer<G, E>::Workspace {
 public:
  /// \brief Weights of the last batch, of one task.
  /// \throws std::invalid_argument if there is no such task, or no batch yet
  [[nodiscard]] const Routing<S>& routing(Index task = 0) const {
    detail::check_task("MoeLayer::Workspace::routing", task, Index(routings_.size()));
    return routings_[std::size_t(task)];
  }
  /// Weights of the last batch, one routing per task.
  [[nodiscard]] std::span<const Routing<S>> routings() const { return routings_; }
  /// The gates' own passes, T after the first batch: a search asks them for its gradient.
  [[nodiscard]] std::span<const Pass<G>> gates() const { return gates_; }
  /// Pairs of the last batch that were evaluated.
  [[nodiscard]] const DispatchPlan& plan() const { return plan_; }

 private:
  friend class MoeLayer;

  void start(const MoeLayer& layer, const Pass<MoeLayer>& pass) {
    filled_by_.clear();
    const auto tasks = std::size_t(layer.num_tasks());
    gates_.resize(tasks);
    routings_.resize(tasks);
    dweights_.resize(tasks);
    for (auto& gate : gates_) gate.run_in(pass);
    bank_.run_in(pass);
  }

  /// backward() follows forward(): only once, only of the layer that filled it, only for the same
  /// samples.
  void check_filled(const MoeLayer& layer, const Samples<S>& samples) const {
    constexpr const char* where = "MoeLayer::backward";
    filled_by_.check(where, layer.identity_, "layer");
    layer.check_gates(where);
    detail::check_equal(where, "gates.size()", layer.num_tasks(), "tasks of the last forward()",
                        Index(gates_.size()));
    detail::check_equal(where, "x.cols()", samples.size(), "samples of the last forward()",
                        plan_.num_samples());
    if (detail::fingerprint(samples) != fingerprint_)
      detail::raise(where, "x has changed since forward()");
  }

  std::vector<Pass<G>> gates_;              // T
  std::vector<Routing<S>> routings_;        // T
  std::vector<AlignedVector<S>> dweights_;  // T, one per entry
  Pass<ExpertBank<E>> bank_;
  DispatchPlan plan_;
  Columns<S> columns_;  // d x columns, in the samples
  Columns<S> outputs_;  // m x columns; after backward() the derivatives by them
  // The forward() that backward() may follow.
  detail::FilledBy filled_by_;
  std::uint64_t fingerprint_ = 0;
};

template <class G, class E>
void MoeLayer<G, E>::predict(const Samples<S>& samples, MatrixView<S> y,
                             Pass<MoeLayer>& pass) const {
  constexpr const char* where = "MoeLayer::predict";
  detail::check_layer_shapes(where, *this, samples, y, "y.rows()", "y.cols()");
  check_gates(where);
  samples.validate(where);
  auto& ws = pass.workspace;
  ws.start(*this, pass);
  for (std::size_t t = 0; t < gates_.size(); ++t)
    gates_[t].route(samples, ws.routings_[t], ws.gates_[t]);
  dispatch(where, samples, pass);
  bank_.predict(ws.plan_, ws.columns_, ws.outputs_, ws.bank_);
  combine(ws.outputs_, ws.plan_, std::span<const Routing<S>>(ws.routings_), y, pass.pool);
}

template <class G, class E>
void MoeLayer<G, E>::forward(const Samples<S>& samples, MatrixView<S> y, RandomKey key,
                             Pass<MoeLayer>& pass) const {
  static_assert(TrainableGate<G> || !Parametric<G>,
                "comet::MoeLayer::forward: this gate has parameters but cannot be trained: it "
                "needs forward(samples, routing, key, pass), backward(samples, routing, dweights, "
                "dx, pass) and regularization(pass), all const");
  static_assert(TrainableExpert<E>,
                "comet::MoeLayer::forward: these experts cannot be trained (concept "
                "TrainableExpert): they only predict, as frozen ones do");
  constexpr const char* where = "MoeLayer::forward";
  detail::check_layer_shapes(where, *this, samples, y, "y.rows()", "y.cols()");
  check_gates(where);
  samples.validate(where);
  auto& ws = pass.workspace;
  ws.start(*this, pass);
  for (std::size_t t = 0; t < gates_.size(); ++t) {
    if constexpr (TrainableGate<G>) {
      gates_[t].forward(samples, ws.routings_[t], key.fold(0).fold(t), ws.gates_[t]);
    } else {
      gates_[t].route(samples, ws.routings_[t], ws.gates_[t]);
    }
  }
  dispatch(where, samples, pass);
  bank_.forward(ws.plan_, ws.columns_, ws.outputs_, key.fold(1), ws.bank_, samples.first);
  ws.fingerprint_ = detail::fingerprint(samples);  // before y, which may be x, is written
  combine(ws.outputs_, ws.plan_, std::span<const Routing<S>>(ws.routings_), y, pass.pool);
  ws.filled_by_.set(identity_);
}

template <class G, class E>
void MoeLayer<G, E>::backward(const Samples<S>& samples, const ConstMatrixView<S>& dy,
                              MatrixView<S> dx, Pass<MoeLayer>& pass) const {
  static_assert(TrainableExpert<E>,
                "comet::MoeLayer::backward: these experts cannot be trained (concept "
                "TrainableExpert): they only predict, as frozen ones do");
  constexpr const char* where = "MoeLayer::backward";
  auto& ws = pass.workspace;
  detail::check_layer_shapes(where, *this, samples, dy, "dy.rows()", "dy.cols()");
  ws.check_filled(*this, samples);
  detail::check_input_gradient(where, dx, samples.features);
  detail::check_apart(where, "dx", dx, "dy", dy);
  GradientView<S> rest = pass.gradients(*this);
  ws.filled_by_.clear();
  ws.bank_.borrow(rest.next(bank_.experts()), pass);

  ws.columns_.leave_in(samples.features, ws.plan_);
  const MixtureDerivatives<S> mixture(dy, ws.plan_, ws.routings_, ws.dweights_, where);
  bank_.backward(ws.plan_, ws.columns_, ws.outputs_, mixture, dx, ws.bank_);
  if constexpr (TrainableGate<G>)
    for (std::size_t t = 0; t < gates_.size(); ++t) {
      ws.gates_[t].borrow(rest.next(gates_[t]), pass);
      gates_[t].backward(samples, ws.routings_[t], std::span<const S>(ws.dweights_[t]), dx,
                         ws.gates_[t]);
    }
}

template <class G, class E>
MoeLayer(G, std::vector<E>) -> MoeLayer<G, E>;
template <class G, class E>
MoeLayer(std::vector<G>, std::vector<E>) -> MoeLayer<G, E>;

}  // namespace comet
