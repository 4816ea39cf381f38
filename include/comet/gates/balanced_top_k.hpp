// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/logit_batch.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/gates/frozen_logits.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet {

/// \brief How the selection bias of a BalancedTopKGate follows the load.
enum class BiasUpdate {
  sign,      ///< by a fixed step towards an even load (Wang et al., 2024)
  quantile,  ///< to where the last batch would have been even: no rate, needs its scores
};

/// Settings of a BalancedTopKGate, with defaults where there is a sensible one.
struct BalancedTopKGateOptions {
  Index input_dim = 0;                      ///< d >= 1
  Index num_experts = 0;                    ///< n >= 1
  Index k = 2;                              ///< experts per sample, 1 <= k <= n
  GateScores scores = GateScores::softmax;  ///< what the bias is added to
  bool normalize = true;                    ///< divide the weights by their sum
  BiasUpdate update = BiasUpdate::sign;     ///< what end_of_step() does to the bias
  double rate = 1e-3;                       ///< of the update by sign, > 0
};

/// \brief Top-k whose load is evened by a bias of the selection, without a penalty in the loss.
///
///     s = softmax(W^T x + c) or sigmoid(W^T x + c),  T = the k largest of s + b
///
///     g_i = s_i for i in T, divided by their sum if so wished, and 0 elsewhere
///
/// (Wang et al., Auxiliary-loss-free load balancing, 2024.) The bias b, 0 at first, only selects:
/// weights do not contain it and it has no gradient. After a step, end_of_step() moves it:
///
/// - by sign, with l_i samples at expert i:  b_i += rate sign(mean(l) - l_i);
/// - by quantile: b_i is set to where expert i, alone against each sample's (k+1)-th best s + b,
///   would have had its B k / n samples of the last forward(): a step of coordinate ascent on the
///   dual of balanced assignment, which takes no rate.
///
/// The bias is state and no parameter: a checkpoint has it by visit_state(). Ties go to the smaller
/// index. With k = 1 normalised weights are 1 and the gate has no gradient: normalize = false
/// there. Weights of sigmoid scores that are not normalised may sum to more than 1.
///
/// \par Cost     that of TopKGate, and n exponentials per sample
/// \par Threads  const but for end_of_step(): concurrent calls are safe with distinct passes
/// \tparam S     float or double
/// \see TopKGate, whose penalties even the load by the gradient
/// \see docs/math.md, equations (13)-(17)
template <class S>
class BalancedTopKGate {
 public:
  using Scalar = S;                                           ///< float or double.
  using Options = BalancedTopKGateOptions;                    ///< Settings of the constructor.
  static constexpr std::string_view name = "balanced_top_k";  ///< What options and tables call it.

  /// \brief Scratch of a BalancedTopKGate.
  class Workspace {
    friend class BalancedTopKGate;
    detail::LogitBatch<S> batch_;
    Buffer<S> scores_;                 // n x B
    std::vector<ExpertId> order_;      // n per tile
    std::vector<std::int32_t> sizes_;  // k each, 0 for padding
  };

  /// Weights and biases of the logits uniform in +-1/sqrt(d), the selection bias 0.
  /// \throws std::invalid_argument if an option is outside its bounds
  BalancedTopKGate(BalancedTopKGateOptions options, RandomKey key)
      : options_(validated(options)), tables_(tables(options, key)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return options_.k; }
  /// The settings in use.
  [[nodiscard]] const BalancedTopKGateOptions& options() const noexcept { return options_; }
  /// The bias of the selection, one per expert.
  [[nodiscard]] std::span<const S> selection_bias() const noexcept { return tables_.bias; }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<BalancedTopKGate>& pass) const {
    evaluate("BalancedTopKGate::route", samples, routing, pass);
  }
  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<BalancedTopKGate>& pass) const {
    evaluate("BalancedTopKGate::forward", samples, routing, pass);
    pass.workspace.batch_.end_forward(identity_, samples, routing);
  }

  /// \brief Adds the gradients of sum(dweights . weights).
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<BalancedTopKGate>& pass) const;

  /// \brief 0: the gate has no penalty.
  [[nodiscard]] S regularization(const Pass<BalancedTopKGate>& /*pass*/) const noexcept {
    return S(0);
  }

  /// \brief Moves the selection bias by the load of the step that ends. \see LoadedGate
  /// \param load  samples per expert, of everything that the step saw
  /// \throws std::invalid_argument if it is not of num_experts(), or the update is by quantile
  void end_of_step(std::span<const Index> load) {
    constexpr const char* where = "BalancedTopKGate::end_of_step";
    detail::check_end_of_step(where, load, num_experts());
    if (options_.update == BiasUpdate::quantile)
      detail::raise(where,
                    "the update by quantile takes the scores of the step's forward(): "
                    "end_of_step(load, pass)");
    move_by_sign(load);
  }
  /// \brief The same by sign or by quantile. \param pass  of the step's forward()
  /// \throws std::invalid_argument if the pass holds no forward(), or an update by quantile is of a
  ///         batch that ranks share, as well
  void end_of_step(std::span<const Index> load, const Pass<BalancedTopKGate>& pass) {
    detail::check_end_of_step("BalancedTopKGate::end_of_step", load, num_experts(),
                              pass.workspace.batch_);
    if (options_.update == BiasUpdate::sign) return move_by_sign(load);
    if (pass.rank_sum) [[unlikely]]
      detail::raise("BalancedTopKGate::end_of_step",
                    "the update by quantile takes the scores of the whole batch, and ranks share "
                    "it: take the update by sign");
    move_to_quantile(pass.workspace.scores_.matrix());
  }

  /// \brief A gate that routes to the same bits and does nothing else. \see FreezableGate
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenBalancedTopKGate<S> freeze(
      std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, 1);
    return {tables_, detail::slot_labels(permutations, num_experts(), 1)};
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    tables_.logits.visit(f);
  }
  /// \brief The selection bias. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("selection_bias", std::span(tables_.bias));
  }
  /// \brief The selection bias. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("selection_bias", std::span(tables_.bias));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if a bias is not finite
  void restored() const {
    for (const S bias : tables_.bias)
      if (!std::isfinite(bias))
        detail::raise("BalancedTopKGate::restored", "a selection bias", bias, "a finite number");
  }

 private:
  static BalancedTopKGateOptions validated(const BalancedTopKGateOptions& options) {
    constexpr const char* where = "BalancedTopKGate";
    detail::check_at_least(where, "input_dim", options.input_dim, 1);
    detail::check_selection(where, options);
    detail::check_positive(where, "rate", options.rate);
    return options;
  }
  static BalancedTopKTables<S> tables(const BalancedTopKGateOptions& options, RandomKey key) {
    Hyperplanes<S> logits(options.input_dim, options.num_experts);
    logits.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
    return {options.k, options.scores, options.normalize, std::move(logits),
            std::vector<S>(std::size_t(options.num_experts), S(0))};
  }

  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<BalancedTopKGate>& pass) const;
  void move_by_sign(std::span<const Index> load);
  void move_to_quantile(const ConstMatrixView<S>& scores);

  BalancedTopKGateOptions options_;
  BalancedTopKTables<S> tables_;
  detail::Identity identity_;
};

template <class S>
void BalancedTopKGate<S>::evaluate(std::string_view where, const Samples<S>& samples,
                                   Routing<S>& routing, Pass<BalancedTopKGate>& pass) const {
  auto& ws = pass.workspace;
  ws.batch_.begin(where, samples, input_dim());
  const auto& live = ws.batch_.live();
  const Index n = num_experts(), k = options_.k;
  auto scores = ws.scores_.shape(n, live.size());
  ws.order_.resize(std::size_t(detail::num_tiles(live.size()) * n));
  detail::size_rows(live, samples.size(), k, ws.sizes_, routing);
  ws.batch_.evaluate(where, samples, tables_.logits, pass.pool, [&](Index column, Index tile) {
    ExpertId* order = ws.order_.data() + tile * n;
    const auto entry = std::size_t(routing.offsets()[std::size_t(live[column])]);
    tables_.select(ws.batch_.logits(column), scores.col(column).data(), order,
                   routing.weights().data() + entry);
    std::copy_n(order, k, routing.experts().data() + entry);
  });
}

template <class S>
void BalancedTopKGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                                   std::span<const S> dweights, MatrixView<S> dx,
                                   Pass<BalancedTopKGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("BalancedTopKGate::backward", routing, dweights, dx,
                            ws.batch_.forward(), identity_);
  const auto scores = ws.scores_.matrix();
  const bool shares = options_.scores == GateScores::softmax;
  const auto by_logits = [&](Index column, Index b, auto add) {
    const auto experts = routing.experts(b);
    const auto weights = routing.weights(b);
    const S* by = dweights.data() + routing.offsets()[std::size_t(b)];
    const auto s = scores.col(column);
    // A softmax takes off the mean, be it over the selected or over all.
    S mean = 0;
    if (options_.normalize || shares)
      for (std::size_t i = 0; i < experts.size(); ++i) mean += weights[i] * by[i];
    const bool all = shares && !options_.normalize;
    std::size_t selected = 0;
    for (Index i = 0; all && i < num_experts(); ++i) {
      const bool taken = selected < experts.size() && experts[selected] == i;
      add(i, s(i) * ((taken ? by[selected] : S(0)) - mean));
      selected += taken;
    }
    for (std::size_t i = 0; !all && i < experts.size(); ++i) {
      const S by_weight = weights[i] * (by[i] - mean);
      add(experts[i], shares ? by_weight : by_weight * (S(1) - s(experts[i])));
    }
  };
  ws.batch_.backward(samples, tables_.logits, pass.gradients(*this), dx, pass.pool, by_logits);
}

template <class S>
void BalancedTopKGate<S>::move_by_sign(std::span<const Index> load) {
  Index total = 0;
  for (const Index samples : load) total += samples;
  for (std::size_t i = 0; i < load.size(); ++i) {
    const Index lack = total - num_experts() * load[i];  // n times that of the mean
    tables_.bias[i] += S(options_.rate) * S((lack > 0) - (lack < 0));
  }
}

template <class S>
void BalancedTopKGate<S>::move_to_quantile(const ConstMatrixView<S>& scores) {
  const Index n = num_experts(), k = options_.k, size = scores.cols();
  if (k == n || size == 0) return;  // there is nothing to even
  auto& bias = tables_.bias;
  std::vector<S> best(static_cast<std::size_t>(size)), values(static_cast<std::size_t>(n));
  const auto largest = [](std::vector<S>& all, Index place) {
    std::nth_element(all.begin(), all.begin() + place, all.end(), std::greater<>());
    return all[std::size_t(place)];
  };
  for (Index b = 0; b < size; ++b) {
    for (Index i = 0; i < n; ++i) values[std::size_t(i)] = scores(i, b) + bias[std::size_t(i)];
    best[std::size_t(b)] = largest(values, k);  // of those that are not taken
  }
  const Index whole = size * k / n;  // an even load, rounded down
  const S part = S(size * k % n) / S(n);
  values.resize(std::size_t(size));
  for (Index i = 0; i < n; ++i) {
    for (Index b = 0; b < size; ++b) values[std::size_t(b)] = scores(i, b) - best[std::size_t(b)];
    const S upper = largest(values, whole);
    const S lower = part > S(0) ? largest(values, std::min(whole + 1, size - 1)) : upper;
    bias[std::size_t(i)] = -(upper + part * (lower - upper));
  }
}

}  // namespace comet
