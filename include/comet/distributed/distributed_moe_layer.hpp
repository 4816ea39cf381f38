// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <concepts>
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
#include <comet/core/index_range.hpp>
#include <comet/core/layer_shapes.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/column_transport.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/distributed/distributed_bank.hpp>
#include <comet/distributed/replicated.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet {

/// \brief A MoeLayer whose experts live on several ranks: each rank has a piece of the batch, all
/// gates, and the experts of its share. Columns travel to the ranks that own their experts, and
/// back.
///
///     y_t(:, b) = sum_i g_t(i, b) f_i(x(:, b))        for the samples b of this rank
///
/// The batch is what the ranks have, one behind the other, rank 0 first. Outputs, routings, dx and
/// the gradients of experts are those of a MoeLayer that has all experts and the whole batch, bit
/// for bit; noise and dropout too, which are drawn by the sample's number in the whole batch.
/// Gradients of the gates are of the samples here: reduce_gradients() makes them whole. Penalties
/// of gates are of the whole batch, and regularization() is the same on every rank. Where a penalty
/// looks at a mean over the batch, its sums over ranks are rounded in another order than in one
/// process.
///
/// Every call is one of all ranks. A rank without samples, without experts or whose data have ended
/// takes part with matrices of 0 columns; it has to make as many calls as the others.
///
/// \code
///   run_ranks(4, [&](ThreadCommunicator& world) {
///     DistributedMoeLayer layer(world, CometGate<float>(options, key.fold(0)),
///                               make_experts<Expert>(share_of(64, world), of_experts,
///                                                    key.fold(1)));
///     Pass pass(layer);
///     layer.forward(x, y, key.fold(2).fold(step), pass);   // x: the samples of this rank
///     ...
///     layer.backward(x, dy, pass);
///     reduce_gradients(world, layer, pass.gradients(layer));
///     adam.step(layer, pass);
///   });
/// \endcode
/// \par Cost     that of a MoeLayer on the pairs whose experts live here; bytes are in
///               docs/distributed.md
/// \par Threads  one thread a rank calls; the pass's pool spreads its work
/// \tparam C     a Communicator
/// \tparam G     a RoutingGate whose rows do not depend on their batch
/// \tparam E     a TrainableExpert
/// \see MoeLayer
template <Communicator C, class G, class E>
class DistributedMoeLayer {
  static_assert(RoutingGate<G>,
                "comet::DistributedMoeLayer: the second argument is not a gate (concept "
                "RoutingGate); see core/concepts.hpp");
  static_assert(TrainableExpert<E>,
                "comet::DistributedMoeLayer: the third argument is no vector of experts (concept "
                "TrainableExpert); see core/concepts.hpp");
  static_assert(std::same_as<typename G::Scalar, typename E::Scalar>,
                "comet::DistributedMoeLayer: gate and expert have different scalar types");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  class Workspace;

  /// \param world    must stay
  /// \param gates    one per task, T >= 1; the same on every rank
  /// \param experts  of this rank, perhaps none: those of rank 0 are the first, and so on
  /// \throws std::invalid_argument if the parts do not fit together, a gate is not the same on all
  ///         ranks or its rows depend on their batch
  /// \throws CommunicationError if another rank does not take part
  DistributedMoeLayer(C& world, std::vector<G> gates, std::vector<E> experts)
      : gates_(std::move(gates)), bank_(world, std::move(experts)) {
    constexpr const char* where = "DistributedMoeLayer";
    check_gates(where);
    for (const G& gate : gates_)
      if (depends_on_batch(gate))
        detail::raise(where,
                      "the rows of the gate depend on their batch, of which a rank has a piece");
    check_replicated(world, *this, where);
    check_replicated_state(world, gates_, "DistributedMoeLayer: the gates");
  }
  /// \brief The same for one task.
  DistributedMoeLayer(C& world, G gate, std::vector<E> experts)
      : DistributedMoeLayer(world, std::vector<G>(1, std::move(gate)), std::move(experts)) {}

  /// Number of tasks T.
  [[nodiscard]] Index num_tasks() const noexcept { return Index(gates_.size()); }
  /// Number of experts n of all ranks.
  [[nodiscard]] Index num_experts() const noexcept { return bank_.size(); }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return bank_.input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return bank_.output_dim(); }
  /// Numbers of the experts that live here.
  [[nodiscard]] IndexRange share() const { return bank_.share(); }
  /// Per rank, the numbers of the experts that live there.
  [[nodiscard]] std::span<const IndexRange> shares() const noexcept { return bank_.shares(); }
  /// One per task.
  [[nodiscard]] const std::vector<G>& gates() const noexcept { return gates_; }
  /// One per task. Whoever changes them does so on every rank, between backward() and forward().
  [[nodiscard]] std::vector<G>& gates() noexcept { return gates_; }
  /// The experts that live here.
  [[nodiscard]] std::span<const E> experts() const noexcept { return bank_.experts(); }
  /// The experts that live here.
  [[nodiscard]] std::span<E> experts() noexcept { return bank_.experts(); }
  /// All experts, wherever they live.
  [[nodiscard]] const DistributedBank<C, E>& bank() const noexcept { return bank_; }
  /// Number of tensors of the experts that live here: the first that visit() comes to.
  /// \see OwnsTensors
  [[nodiscard]] Index num_own_tensors() const { return bank_.num_own_tensors(); }

  /// \brief y = the mixtures of all tasks, without dropout or noise.
  /// \param samples  of this rank: x, d x B with any B >= 0; ids where a gate wants them
  /// \param y        m x (T B), overwritten
  /// \throws std::invalid_argument if a shape does not fit
  /// \throws NotFinite if a feature or a logit is not finite
  /// \throws CommunicationError if another rank does not take part
  void predict(const Samples<S>& samples, MatrixView<S> y, Pass<DistributedMoeLayer>& pass) const;

  /// \brief predict() in training: with dropout and noise drawn from `key`, leaving in the pass
  /// what backward() needs.
  /// \param key  of this step, the same on every rank
  void forward(const Samples<S>& samples, MatrixView<S> y, RandomKey key,
               Pass<DistributedMoeLayer>& pass) const;

  /// \brief Adds the gradients of sum(dy . y) + regularization() of the last forward(): those of
  /// the experts here by the samples of all ranks, and those of the gates by the samples here.
  /// \param samples  as in forward()
  /// \param dy       m x (T B); of a loss that is a mean over rows, times share_of_rows()
  /// \param dx       d x B, added to; no_gradient saves its cost, on ranks that pass it
  /// \throws std::invalid_argument unless the pass holds a forward() of this layer and of these
  ///         samples: one backward() uses it up
  /// \throws CommunicationError if another rank does not take part
  void backward(const Samples<S>& samples, const ConstMatrixView<S>& dy, MatrixView<S> dx,
                Pass<DistributedMoeLayer>& pass) const;
  /// \brief The same without the gradient by x.
  void backward(const Samples<S>& samples, const ConstMatrixView<S>& dy,
                Pass<DistributedMoeLayer>& pass) const {
    backward(samples, dy, no_gradient, pass);
  }

  /// \brief Sum of the gates' penalties in the last forward(), on the batch of all ranks. 0 before
  /// the first.
  [[nodiscard]] S regularization(const Pass<DistributedMoeLayer>& pass) const {
    S sum = 0;
    if constexpr (TrainableGate<G>)
      for (std::size_t t = 0; t < std::min(gates_.size(), pass.workspace.gates_.size()); ++t)
        sum += gates_[t].regularization(pass.workspace.gates_[t]);
    return sum;
  }

  /// Calls f(name, part) for the experts that live here, `experts.5` being the same expert whoever
  /// has it, and the gates.
  template <class F>
  void visit(F&& f) const {
    bank_.visit(f);
    if constexpr (Parametric<G>) f("gates", gates_);
  }

 private:
  void check_gates(std::string_view where) const {
    detail::check_gates(where, gates_, "the number of experts of all ranks", num_experts());
  }
  template <class Route, class Run>
  void run(const char* where, const Samples<S>& samples, MatrixView<S> y,
           Pass<DistributedMoeLayer>& pass, Route route, Run run_bank) const;

  std::vector<G> gates_;        // T
  DistributedBank<C, E> bank_;  // n
  detail::Identity identity_;
};

/// \brief Scratch of a DistributedMoeLayer and, after forward() or predict(), the routings that
/// were used.
template <Communicator C, class G, class E>
class DistributedMoeLayer<C, G, E>::Workspace {
 public:
  /// \brief Weights of the last batch here, of one task.
  /// \throws std::invalid_argument if there is no such task, or no batch yet
  [[nodiscard]] const Routing<S>& routing(Index task = 0) const {
    detail::check_task("DistributedMoeLayer::Workspace::routing", task, Index(routings_.size()));
    return routings_[std::size_t(task)];
  }
  /// Weights of the last batch here, one routing per task.
  [[nodiscard]] std::span<const Routing<S>> routings() const { return routings_; }
  /// The gates' own passes, T after the first batch.
  [[nodiscard]] std::span<const Pass<G>> gates() const { return gates_; }
  /// Pairs of the samples here.
  [[nodiscard]] const DispatchPlan& plan() const { return plan_; }
  /// Pairs of the experts here, of samples of all ranks.
  [[nodiscard]] const DispatchPlan& expert_plan() const { return bank_.workspace.plan(); }
  /// Number of the first sample here in the batch of all ranks.
  [[nodiscard]] Index first_sample() const { return place_.first; }

 private:
  friend class DistributedMoeLayer;

  void start(const DistributedMoeLayer& layer, const Pass<DistributedMoeLayer>& pass) {
    filled_by_.clear();
    const auto tasks = std::size_t(layer.num_tasks());
    gates_.resize(tasks);
    routings_.resize(tasks);
    dweights_.resize(tasks);
    for (auto& gate : gates_) {
      gate.run_in(pass);
      gate.rank_sum = make_rank_sum(layer.bank_.world());
    }
    bank_.run_in(pass);
  }

  std::vector<Pass<G>> gates_;              // T
  std::vector<Routing<S>> routings_;        // T
  std::vector<AlignedVector<S>> dweights_;  // T, one per entry
  Pass<DistributedBank<C, E>> bank_;
  DispatchPlan plan_;                                   // of the samples here
  Columns<S> columns_, outputs_, doutputs_, dcolumns_;  // of the plan
  BatchPlace place_;                                    // of the samples here
  detail::FilledBy filled_by_;                          // the forward() that backward() may follow
  std::uint64_t fingerprint_ = 0;                       // of its samples
};

/// What predict() and forward() have in common: route(task, samples) is given samples that are
/// numbered as in the whole batch.
template <Communicator C, class G, class E>
template <class Route, class Run>
void DistributedMoeLayer<C, G, E>::run(const char* where, const Samples<S>& samples,
                                       MatrixView<S> y, Pass<DistributedMoeLayer>& pass,
                                       Route route, Run run_bank) const {
  detail::check_layer_shapes(where, *this, samples, y, "y.rows()", "y.cols()");
  check_gates(where);
  samples.validate(where);
  auto& ws = pass.workspace;
  ws.start(*this, pass);
  ws.place_ = place_in_batch(bank_.world(), samples.size());
  Samples<S> numbered = samples;
  numbered.first = ws.place_.first;
  for (std::size_t t = 0; t < gates_.size(); ++t) route(t, numbered);
  detail::check_equal(where, "routing.num_samples()", ws.routings_.front().num_samples(),
                      "x.cols()", samples.size());
  ws.plan_.build(std::span<const Routing<S>>(ws.routings_), num_experts());
  gather_for_travel(samples.features, ws.plan_, ws.columns_, pass.pool);
  run_bank();
  combine(ws.outputs_, ws.plan_, std::span<const Routing<S>>(ws.routings_), y, pass.pool);
}

template <Communicator C, class G, class E>
void DistributedMoeLayer<C, G, E>::predict(const Samples<S>& samples, MatrixView<S> y,
                                           Pass<DistributedMoeLayer>& pass) const {
  auto& ws = pass.workspace;
  run(
      "DistributedMoeLayer::predict", samples, y, pass,
      [&](std::size_t t, const Samples<S>& numbered) {
        gates_[t].route(numbered, ws.routings_[t], ws.gates_[t]);
      },
      [&] { bank_.predict(ws.plan_, ws.columns_, ws.outputs_, ws.place_, ws.bank_); });
}

template <Communicator C, class G, class E>
void DistributedMoeLayer<C, G, E>::forward(const Samples<S>& samples, MatrixView<S> y,
                                           RandomKey key, Pass<DistributedMoeLayer>& pass) const {
  static_assert(
      TrainableGate<G> || !Parametric<G>,
      "comet::DistributedMoeLayer::forward: this gate has parameters but cannot be "
      "trained: it needs forward(samples, routing, key, pass), backward(samples, routing, "
      "dweights, dx, pass) and regularization(pass), all const");
  auto& ws = pass.workspace;
  run(
      "DistributedMoeLayer::forward", samples, y, pass,
      [&](std::size_t t, const Samples<S>& numbered) {
        if constexpr (TrainableGate<G>) {
          gates_[t].forward(numbered, ws.routings_[t], key.fold(0).fold(t), ws.gates_[t]);
        } else {
          gates_[t].route(numbered, ws.routings_[t], ws.gates_[t]);
        }
      },
      [&] {
        bank_.forward(ws.plan_, ws.columns_, ws.outputs_, ws.place_, key.fold(1), ws.bank_);
        ws.fingerprint_ = detail::fingerprint(samples);  // before y, which may be x, is written
      });
  ws.filled_by_.set(identity_);
}

template <Communicator C, class G, class E>
void DistributedMoeLayer<C, G, E>::backward(const Samples<S>& samples, const ConstMatrixView<S>& dy,
                                            MatrixView<S> dx,
                                            Pass<DistributedMoeLayer>& pass) const {
  constexpr const char* where = "DistributedMoeLayer::backward";
  auto& ws = pass.workspace;
  detail::check_layer_shapes(where, *this, samples, dy, "dy.rows()", "dy.cols()");
  ws.filled_by_.check(where, identity_, "layer");
  check_gates(where);
  detail::check_equal(where, "gates.size()", num_tasks(), "tasks of the last forward()",
                      Index(ws.gates_.size()));
  detail::check_equal(where, "x.cols()", samples.size(), "samples of the last forward()",
                      ws.plan_.num_samples());
  if (detail::fingerprint(samples) != ws.fingerprint_)
    detail::raise(where, "x has changed since forward()");
  detail::check_input_gradient(where, dx, samples.features);
  detail::check_apart(where, "dx", dx, "dy", dy);
  ws.filled_by_.clear();
  GradientView<S> rest = pass.gradients(*this);
  ws.bank_.borrow(rest.next(bank_), pass);

  spread(dy, ws.plan_, std::span<const Routing<S>>(ws.routings_), ws.outputs_, ws.doutputs_,
         std::span(ws.dweights_), pass.pool);
  // A rank without samples looks as if it did not want dx; ranks may differ in that.
  const bool wanted = dx.size() > 0;
  bank_.backward(ws.plan_, ws.doutputs_, ws.dcolumns_, wanted, ws.bank_);
  if (wanted) gather_back(ws.dcolumns_, ws.plan_, dx, pass.pool);
  if constexpr (TrainableGate<G>) {
    Samples<S> numbered = samples;
    numbered.first = ws.place_.first;
    for (std::size_t t = 0; t < gates_.size(); ++t) {
      ws.gates_[t].borrow(rest.next(gates_[t]), pass);
      gates_[t].backward(numbered, ws.routings_[t], std::span<const S>(ws.dweights_[t]), dx,
                         ws.gates_[t]);
    }
  }
}

template <Communicator C, class G, class E>
DistributedMoeLayer(C&, G, std::vector<E>) -> DistributedMoeLayer<C, G, E>;
template <Communicator C, class G, class E>
DistributedMoeLayer(C&, std::vector<G>, std::vector<E>) -> DistributedMoeLayer<C, G, E>;

}  // namespace comet
