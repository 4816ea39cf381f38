// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/explain_linear.hpp>
#include <comet/gates/detail/live_tiles.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/affine.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/dots.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet {

/// Settings of a SoftmaxGate, with defaults where there is a sensible one.
struct SoftmaxGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
  Index k = 0;            ///< not used: every expert has a weight
  double entropy = 0.0;   ///< strength of the penalty on undecided rows, >= 0
  double spread = 0.0;    ///< strength of the reward for even use, >= 0
};

/// \brief Softmax over n linear logits: the dense mixture, every expert for every sample.
///
///     g = softmax(W^T x + b)
///
/// The baseline that sparse gates are measured against. Rows that are decided and use that is even
/// can be asked for: entropy is the strength of the rows' mean entropy, which the loss gains,
/// spread that of the entropy of the mean row, which it loses.
///
/// \par Cost     d n multiply-adds per sample; backward twice that
/// \par Threads  const throughout: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double
/// \see TopKGate, which keeps the k largest
/// \see docs/math.md, equations (11) and (31)
template <class S>
class SoftmaxGate {
 public:
  using Scalar = S;                                    ///< float or double.
  using Options = SoftmaxGateOptions;                  ///< Settings of the constructor.
  static constexpr std::string_view name = "softmax";  ///< What options and tables call it.
  class Workspace;

  /// Weights and biases uniform in +-1/sqrt(d).
  /// \throws std::invalid_argument if an option is outside its bounds
  SoftmaxGate(SoftmaxGateOptions options, RandomKey key)
      : options_(validated(options)), logits_(options.input_dim, options.num_experts) {
    logits_.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const SoftmaxGateOptions& options() const noexcept { return options_; }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<SoftmaxGate>& pass) const {
    evaluate("SoftmaxGate::route", samples, routing, pass);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<SoftmaxGate>& pass) const {
    evaluate("SoftmaxGate::forward", samples, routing, pass);
    auto& ws = pass.workspace;
    if (detail::SoftmaxPenalties<S>::wanted(options_))
      ws.regularization_ = S(ws.penalties_.evaluate(options_, rows(routing, ws), pass.rank_sum));
    ws.forward_.set(identity_, samples, routing);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<SoftmaxGate>& pass) const;

  /// \brief Entropy penalty of the last forward() less the reward for even use.
  [[nodiscard]] S regularization(const Pass<SoftmaxGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief A gate that routes to the same bits and does nothing else: Top-k that takes all.
  /// \see FreezableGate
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenTopKGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, 1);
    return {TopKTables<S>{num_experts(), false, logits_},
            detail::slot_labels(permutations, num_experts(), 1)};
  }

  /// \brief What speaks for the heaviest expert against the next. \see ExplainableGate
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const {
    detail::check_explainable(*this, x, names);
    Pass<SoftmaxGate> pass(*this);
    Routing<S> row;
    route(x, row, pass);
    return detail::explain_linear(logits_, x, row, permutations, names);
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    logits_.visit(f);
  }

 private:
  static SoftmaxGateOptions validated(const SoftmaxGateOptions& options) {
    detail::check_at_least("SoftmaxGate", "input_dim", options.input_dim, 1);
    detail::check_num_experts("SoftmaxGate", options.num_experts);
    detail::check_row_penalties<S>("SoftmaxGate", options);
    return options;
  }

  /// The weights as a matrix.
  [[nodiscard]] ConstMatrixView<S> rows(const Routing<S>& routing, const Workspace& ws) const {
    return Eigen::Map<const Matrix<S>>(routing.weights().data(), num_experts(), ws.live_.size());
  }
  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<SoftmaxGate>& pass) const;
  void add_gradients(const ConstMatrixView<S>& x, const S* weights, const S* dweights,
                     MatrixView<S> dx, Pass<SoftmaxGate>& pass) const;

  SoftmaxGateOptions options_;
  Hyperplanes<S> logits_;  // d x n
  detail::Identity identity_;
};

/// \brief Scratch of a SoftmaxGate.
template <class S>
class SoftmaxGate<S>::Workspace {
  friend class SoftmaxGate;

  LiveSamples live_;
  std::vector<std::int32_t> sizes_;  // n each, 0 for padding
  std::vector<const S*> planes_;     // n: the logits' weights
  Buffer<S> by_logit_;               // n x B
  Buffer<S> by_weight_;              // n x B, if there are penalties
  detail::SoftmaxPenalties<S> penalties_;
  Buffer<S> x_;                  // d x B of the live samples, if there is a mask
  Buffer<S> dx_;                 // likewise
  detail::GateForward forward_;  // that backward() may follow
  S regularization_ = 0;
};

template <class S>
void SoftmaxGate<S>::evaluate(std::string_view where, const Samples<S>& samples,
                              Routing<S>& routing, Pass<SoftmaxGate>& pass) const {
  auto& ws = pass.workspace;
  ws.forward_.clear();
  ws.regularization_ = 0;
  samples.validate(where, input_dim());
  ws.live_.assign(samples);
  const Index n = num_experts();
  const Index num_live = ws.live_.size();
  detail::size_rows(ws.live_, samples.size(), n, ws.sizes_, routing);
  Eigen::Map<Matrix<S>> weights(routing.weights().data(), n, num_live);

  const double cost = double(input_dim() * num_live) * double(n);
  const auto tile = [&](const S* const* columns, Index first, Index count) {
    for (Index i = 0; i < n; ++i) logits_.logits(i, columns, count, &weights(i, first), n);
    for (Index b = first; b < first + count; ++b) {
      S* row = weights.col(b).data();
      S check = 0;
      for (Index i = 0; i < n; ++i) {
        routing.experts()[std::size_t(b * n + i)] = ExpertId(i);
        check += row[i] * S(0);
      }
      if (check != S(0)) [[unlikely]]
        detail::raise_not_finite(where, "the logits of sample " + std::to_string(ws.live_[b]),
                                 "overflow or a parameter is not finite");
      detail::softmax(row, n, row);
    }
  };
  detail::for_live_tiles(detail::worth_threads(pass.pool, cost), samples, ws.live_, tile);
}

template <class S>
void SoftmaxGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                              std::span<const S> dweights, MatrixView<S> dx,
                              Pass<SoftmaxGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("SoftmaxGate::backward", routing, dweights, dx, ws.forward_, identity_);
  const auto& live = ws.live_;
  const S* weights = routing.weights().data();
  if (live.size() == 0) return;
  const S* by_weight = dweights.data();
  if (detail::SoftmaxPenalties<S>::wanted(options_)) {
    auto sum = ws.by_weight_.shape(num_experts(), live.size());
    for (Index i = 0; i < sum.size(); ++i)
      sum.data()[i] = by_weight[i] + ws.penalties_.derivative(i % num_experts(), weights[i]);
    by_weight = sum.data();
  }
  if (!live.masked()) {
    add_gradients(samples.features, weights, by_weight, dx, pass);
    return;
  }
  auto x = ws.x_.shape(input_dim(), live.size());
  auto live_dx = ws.dx_.shape(input_dim(), dx.size() > 0 ? live.size() : 0);
  for (Index i = 0; i < live.size(); ++i) x.col(i) = samples.features.col(live[i]);
  for (Index i = 0; i < live_dx.cols(); ++i) live_dx.col(i) = dx.col(live[i]);
  add_gradients(x, weights, by_weight, live_dx, pass);
  for (Index i = 0; i < live_dx.cols(); ++i) dx.col(live[i]) = live_dx.col(i);
}

/// Rows are dense, so the weights' gradients are plain products, cut into parts of fixed size. A
/// sample's dx is summed by itself: its bits do not depend on what stands beside it.
template <class S>
void SoftmaxGate<S>::add_gradients(const ConstMatrixView<S>& x, const S* weights, const S* dweights,
                                   MatrixView<S> dx, Pass<SoftmaxGate>& pass) const {
  const Index n = num_experts();
  auto by_logit = pass.workspace.by_logit_.shape(n, x.cols());
  by_logit.setZero();
  std::vector<const S*>& planes = pass.workspace.planes_;
  planes.clear();
  for (Index i = 0; i < n; ++i) planes.push_back(logits_.column(i));
  ThreadPool* pool = detail::worth_threads(pass.pool, double(x.size()) * double(n));
  parallel_for(pool, detail::num_tiles(x.cols()), [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    const Index count = std::min(detail::samples_per_tile, x.cols() - first);
    for (Index b = first; b < first + count; ++b) {
      S* const by = by_logit.col(b).data();
      detail::add_softmax_backward(weights + b * n, dweights + b * n, n, by);
      if (dx.size() > 0) detail::add_scaled(dx.col(b).data(), x.rows(), by, planes.data(), n);
    }
  });
  const GradientView<S> gradients = pass.gradients(*this);
  parallel_for(pool, detail::num_slices(n), [&](Index slice, Index) {
    const Index first = slice * detail::units_per_slice;
    const Index count = std::min(detail::units_per_slice, n - first);
    const auto rows = by_logit.middleRows(first, count);
    gradients[0].middleCols(first, count).noalias() += x * rows.transpose();
    for (Index run = 0; run < x.cols(); run += detail::run_length) {
      const Index width = std::min(detail::run_length, x.cols() - run);
      for (Index i = 0; i < count; ++i)
        gradients[1](first + i, 0) += rows.row(i).segment(run, width).sum();
    }
  });
}

}  // namespace comet
