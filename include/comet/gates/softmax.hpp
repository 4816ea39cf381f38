// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/hyperplanes.hpp>
#include <comet/kernels/affine.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet {

/// Settings of a SoftmaxGate, with defaults where there is a sensible one.
struct SoftmaxGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
};

/// \brief Softmax over n linear logits: the dense mixture, every expert for every sample.
///
///     g = softmax(W^T x + b)
///
/// The baseline that sparse gates are measured against.
///
/// \par Cost     d n multiply-adds per sample; backward twice that
/// \par Threads  route() and forward() are const: concurrent calls are safe with distinct routings
///               and workspaces
/// \tparam S     float or double
/// \see TopKGate, which keeps the k largest
template <class S>
class SoftmaxGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
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

  /// \brief A gate that gives what this one gives to expert i to expert p(i), up to the order of a
  /// sum.
  /// \throws std::invalid_argument if p is not of num_experts() experts
  [[nodiscard]] SoftmaxGate permuted(const Permutation& p) const {
    detail::check_equal("SoftmaxGate::permuted", "p.size()", p.size(), "num_experts",
                        num_experts());
    SoftmaxGate result = *this;
    result.logits_ = logits_.permuted(p);
    return result;
  }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), or x or a logit is not finite
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("SoftmaxGate::route", x, routing, workspace);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
               Workspace& workspace) const {
    evaluate("SoftmaxGate::forward", x, routing, workspace);
    workspace.num_samples_ = x.cols();
  }

  /// \brief Adds the gradients of sum(dweights . weights).
  /// \param x, routing  as in the forward() that filled the workspace
  /// \param dweights    one derivative per entry of the routing
  /// \param dx          d x B, added to; an empty view if not wanted
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace);

  /// \brief 0: the gate has no penalty of its own.
  [[nodiscard]] S regularization(const Workspace& /*workspace*/) const noexcept { return S(0); }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    logits_.visit(f);
  }

 private:
  static SoftmaxGateOptions validated(const SoftmaxGateOptions& options) {
    detail::check_at_least("SoftmaxGate", "input_dim", options.input_dim, 1);
    detail::check_at_least("SoftmaxGate", "num_experts", options.num_experts, 1);
    return options;
  }

  void evaluate(std::string_view where, const ConstMatrixView<S>& x, Routing<S>& routing,
                Workspace& workspace) const;

  SoftmaxGateOptions options_;
  detail::Hyperplanes<S> logits_;  // d x n
};

/// \brief Scratch of a SoftmaxGate: give each thread its own.
template <class S>
class SoftmaxGate<S>::Workspace {
 public:
  Workspace() = default;
  /// Shares the work among `threads`, which must outlive the workspace.
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  ThreadPool* pool = nullptr;  ///< not owned; none runs everything in the calling thread

 private:
  friend class SoftmaxGate;

  std::vector<std::int32_t> sizes_;  // n each
  detail::Buffer<S> by_logit_;       // n x B
  Index num_samples_ = -1;           // of the forward() that backward() may follow
};

template <class S>
void SoftmaxGate<S>::evaluate(std::string_view where, const ConstMatrixView<S>& x,
                              Routing<S>& routing, Workspace& workspace) const {
  detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
  detail::check_finite(where, "x", x);
  const Index n = num_experts();
  const Index num_samples = x.cols();
  auto& ws = workspace;
  ws.num_samples_ = -1;
  ws.sizes_.assign(std::size_t(num_samples), std::int32_t(n));
  routing.resize(ws.sizes_);
  Eigen::Map<Matrix<S>> weights(routing.weights().data(), n, num_samples);

  ThreadPool* pool = detail::worth_threads(ws.pool, double(x.size()) * double(n));
  parallel_for(pool, detail::num_tiles(num_samples), [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    const Index count = std::min(detail::samples_per_tile, num_samples - first);
    const S* samples[std::size_t(detail::samples_per_tile)];
    for (Index lane = 0; lane < count; ++lane) samples[lane] = x.col(first + lane).data();
    for (Index i = 0; i < n; ++i) logits_.logits(i, samples, count, &weights(i, first), n);
    for (Index b = first; b < first + count; ++b) {
      S* row = weights.col(b).data();
      S check = 0;
      for (Index i = 0; i < n; ++i) {
        routing.experts()[std::size_t(b * n + i)] = ExpertId(i);
        check += row[i] * S(0);
      }
      if (check != S(0)) [[unlikely]]
        detail::raise(where, "the logits of sample " + std::to_string(b) +
                                 " overflow or a parameter is not finite");
      detail::softmax(row, n, row);
    }
  });
}

template <class S>
void SoftmaxGate<S>::backward(const ConstMatrixView<S>& x, const Routing<S>& routing,
                              std::span<const S> dweights, MatrixView<S> dx, Workspace& workspace) {
  auto& ws = workspace;
  detail::check_backward("SoftmaxGate::backward", x, input_dim(), routing, dweights, dx,
                         ws.num_samples_);
  if (x.cols() == 0) return;
  const Index d = input_dim();
  const Index n = num_experts();
  auto by_logit = ws.by_logit_.shape(n, x.cols());
  by_logit.setZero();
  // Rows are dense, so these are plain products, cut into parts of fixed size.
  ThreadPool* pool = detail::worth_threads(ws.pool, double(x.size()) * double(n));
  parallel_for(pool, detail::num_tiles(x.cols()), [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    const Index count = std::min(detail::samples_per_tile, x.cols() - first);
    for (Index b = first; b < first + count; ++b)
      detail::add_softmax_backward(routing.weights(b).data(), dweights.data() + b * n, n,
                                   by_logit.col(b).data());
    if (dx.size() > 0)
      dx.middleCols(first, count).noalias() += logits_.weight() * by_logit.middleCols(first, count);
  });
  parallel_for(pool, detail::num_slices(n), [&](Index slice, Index) {
    const Index first = slice * detail::units_per_slice;
    const Index count = std::min(detail::units_per_slice, n - first);
    const auto rows = by_logit.middleRows(first, count);
    Eigen::Map<Matrix<S>>(logits_.weight_gradient(first), d, count).noalias() +=
        x * rows.transpose();
    for (Index i = 0; i < count; ++i) logits_.bias_gradient(first + i) += rows.row(i).sum();
  });
}

}  // namespace comet
