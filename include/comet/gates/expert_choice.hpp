// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/logit_batch.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/top_k_selection.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet {

/// Settings of an ExpertChoiceGate, with defaults where there is a sensible one.
struct ExpertChoiceGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< experts per sample on average, 1 <= k <= n
};

/// \brief Expert choice: every expert takes the same number of samples, those that want it most.
///
///     s = softmax(W^T x),  expert i takes the c samples of the batch with the largest s_i,
///     g_i = s_i where it does and 0 elsewhere                     (Zhou et al., NeurIPS 2022)
///
/// c = B k / n, rounded to the nearest whole number and at least 1: the load is even by
/// construction. Of equal scores the earlier sample is taken. Rows have any length, also 0, and sum
/// to at most 1.
///
/// A row depends on its batch, in training and in inference (`depends_on_batch`): the same sample
/// among others may go to other experts, one that is alone goes to all, and what a layer promises
/// of a sample's bits does not hold. So the gate cannot be frozen, and a sequence must not be
/// routed before its end is known.
///
/// \par Cost     d n multiply-adds and n exponentials per sample, a partial selection per expert;
///               backward 2 d n
/// \par Threads  const throughout: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double
/// \see BalancedTopKGate, whose load is even in the long run and whose rows are their own
/// \see docs/math.md, equations (25)-(26)
template <class S>
class ExpertChoiceGate {
 public:
  using Scalar = S;                                          ///< float or double.
  using Options = ExpertChoiceGateOptions;                   ///< Settings of the constructor.
  static constexpr std::string_view name = "expert_choice";  ///< What options and tables call it.
  static constexpr bool depends_on_batch = true;             ///< A row is one of its batch.

  /// \brief Scratch of an ExpertChoiceGate.
  class Workspace {
    friend class ExpertChoiceGate;
    detail::LogitBatch<S> batch_;
    Buffer<S> scores_;                 // n x B
    std::vector<std::int32_t> order_;  // B per expert: its samples come first
    std::vector<std::uint8_t> taken_;  // n x B
    std::vector<std::int32_t> sizes_;  // per sample
  };

  /// Weights uniform in +-1/sqrt(d).
  /// \throws std::invalid_argument if an option is outside its bounds
  ExpertChoiceGate(ExpertChoiceGateOptions options, RandomKey key)
      : options_(validated(options)),
        logits_(options.input_dim, options.num_experts, Hyperplanes<S>::Offsets::none) {
    logits_.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give: all.
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const ExpertChoiceGateOptions& options() const noexcept { return options_; }
  /// Samples that each expert takes of so many.
  [[nodiscard]] Index capacity(Index num_samples) const noexcept {
    const Index n = num_experts();
    return std::min(num_samples, std::max(Index(1), (2 * num_samples * options_.k + n) / (2 * n)));
  }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<ExpertChoiceGate>& pass) const {
    evaluate("ExpertChoiceGate::route", samples, routing, pass);
  }
  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<ExpertChoiceGate>& pass) const {
    evaluate("ExpertChoiceGate::forward", samples, routing, pass);
    pass.workspace.batch_.end_forward(identity_, samples, routing);
  }

  /// \brief Adds the gradients of sum(dweights . weights).
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<ExpertChoiceGate>& pass) const;

  /// \brief 0: the gate has no penalty.
  [[nodiscard]] S regularization(const Pass<ExpertChoiceGate>& /*pass*/) const noexcept {
    return S(0);
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    logits_.visit(f);
  }

 private:
  static ExpertChoiceGateOptions validated(const ExpertChoiceGateOptions& options) {
    constexpr const char* where = "ExpertChoiceGate";
    detail::check_at_least(where, "input_dim", options.input_dim, 1);
    detail::check_selection(where, options);
    return options;
  }

  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<ExpertChoiceGate>& pass) const;
  void choose(ThreadPool* pool, Workspace& ws) const;

  ExpertChoiceGateOptions options_;
  Hyperplanes<S> logits_;  // d x n
  detail::Identity identity_;
};

template <class S>
void ExpertChoiceGate<S>::evaluate(std::string_view where, const Samples<S>& samples,
                                   Routing<S>& routing, Pass<ExpertChoiceGate>& pass) const {
  auto& ws = pass.workspace;
  ws.batch_.begin(where, samples, input_dim());
  const auto& live = ws.batch_.live();
  const Index n = num_experts();
  auto scores = ws.scores_.shape(n, live.size());
  ws.batch_.evaluate(where, samples, logits_, pass.pool, [&](Index column, Index) {
    detail::softmax(ws.batch_.logits(column), n, scores.col(column).data());
  });
  choose(pass.pool, ws);
  ws.sizes_.assign(std::size_t(samples.size()), 0);
  for (Index column = 0; column < live.size(); ++column) {
    const auto first = ws.taken_.begin() + column * n;
    ws.sizes_[std::size_t(live[column])] = std::int32_t(std::count(first, first + n, 1));
  }
  routing.resize(ws.sizes_);
  for (Index column = 0; column < live.size(); ++column) {
    auto entry = std::size_t(routing.offsets()[std::size_t(live[column])]);
    for (Index i = 0; i < n; ++i) {
      if (ws.taken_[std::size_t(column * n + i)] == 0) continue;
      routing.experts()[entry] = ExpertId(i);
      routing.weights()[entry++] = scores(i, column);
    }
  }
}

/// Every expert takes its samples.
template <class S>
void ExpertChoiceGate<S>::choose(ThreadPool* pool, Workspace& ws) const {
  const auto scores = ws.scores_.matrix();
  const Index n = num_experts(), size = scores.cols(), capacity = this->capacity(size);
  ws.order_.resize(std::size_t(n * size));
  ws.taken_.assign(std::size_t(n * size), 0);
  if (size == 0) return;
  parallel_for(detail::worth_threads(pool, double(n) * double(size) * 8), n, [&](Index i, Index) {
    std::int32_t* order = ws.order_.data() + i * size;
    detail::take_largest(size, capacity, order, [&](std::int32_t b) { return scores(i, b); });
    for (Index b = 0; b < capacity; ++b) ws.taken_[std::size_t(order[b] * n + i)] = 1;
  });
}

template <class S>
void ExpertChoiceGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                                   std::span<const S> dweights, MatrixView<S> dx,
                                   Pass<ExpertChoiceGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("ExpertChoiceGate::backward", routing, dweights, dx,
                            ws.batch_.forward(), identity_);
  const auto scores = ws.scores_.matrix();
  const auto by_logits = [&](Index column, Index b, auto add) {
    const auto experts = routing.experts(b);
    const auto weights = routing.weights(b);
    const S* by = dweights.data() + routing.offsets()[std::size_t(b)];
    if (experts.empty()) return;
    S mean = 0;
    for (std::size_t i = 0; i < experts.size(); ++i) mean += weights[i] * by[i];
    std::size_t taken = 0;
    for (Index i = 0; i < num_experts(); ++i) {
      const bool is_taken = taken < experts.size() && experts[taken] == i;
      add(i, scores(i, column) * ((is_taken ? by[taken] : S(0)) - mean));
      taken += is_taken;
    }
  };
  ws.batch_.backward(samples, logits_, pass.gradients(*this), dx, pass.pool, by_logits);
}

}  // namespace comet
