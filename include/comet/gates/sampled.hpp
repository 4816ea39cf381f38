// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
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
#include <comet/gates/detail/draw_experts.hpp>
#include <comet/gates/detail/explain_linear.hpp>
#include <comet/gates/detail/logit_batch.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen_logits.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet {

/// Settings of a SampledGate, with defaults where there is a sensible one.
struct SampledGateOptions {
  Index input_dim = 0;         ///< d >= 1
  Index num_experts = 0;       ///< n >= 2
  Index k = 2;                 ///< experts per sample, 2 <= k <= n
  double temperature = 1;      ///< tau > 0, what logits are divided by before they are drawn from
  double trimmed_lasso = 0.0;  ///< strength of the penalty on all but the k largest shares, >= 0
  double entropy = 0.0;        ///< strength of the penalty on undecided shares, >= 0
  double spread = 0.0;         ///< strength of the reward for even use, >= 0
};

/// \brief Exactly k experts from the first step on: drawn while it trains, then the k largest.
///
///     g = softmax(W^T x / tau)
///
/// In training, a set T of k experts is drawn without replacement with probabilities g, and one of
/// them, j, uniformly. Weights are the softmax over T of log g_j for j, log g_i - log((k - 1) g_i)
/// for the others:
///
///     w_j = g_j / (1 + g_j),  w_i = 1 / ((k - 1)(1 + g_j)) for i in T without j
///
/// so that only g_j has a gradient, by all logits. The penalty is the trimmed lasso, the mean over
/// samples of the sum of all but the k largest g, times its strength: it makes the draw agree with
/// what route() does, which takes the k largest, each with weight 1/k, and draws nothing. (The gate
/// SampleKSoftmaxUnbiasedWithTrimmedLasso in the development repository of COMET's authors.)
///
/// Draws follow from the key and the number of the sample, not from its batch or from threads.
///
/// \par Cost     d n multiply-adds per sample; in training n exponentials and k n additions more
/// \par Threads  const throughout: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double
/// \see CometGate, which comes to few experts by and by; docs/math.md, equations (18)-(21), (31)
template <class S>
class SampledGate {
 public:
  using Scalar = S;                                    ///< float or double.
  using Options = SampledGateOptions;                  ///< Settings of the constructor.
  static constexpr std::string_view name = "sampled";  ///< What options and tables call it.
  class Workspace;

  /// Weights uniform in +-1/sqrt(d).
  /// \throws std::invalid_argument if an option is outside its bounds
  SampledGate(SampledGateOptions options, RandomKey key)
      : options_(validated(options)), tables_(tables(options, key)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// The length of every row.
  [[nodiscard]] Index max_active() const noexcept { return options_.k; }
  /// The settings in use.
  [[nodiscard]] const SampledGateOptions& options() const noexcept { return options_; }

  /// \brief Routes a batch to the k largest. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<SampledGate>& pass) const;

  /// \brief Routes to experts drawn from `key` and remembers what backward() needs.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<SampledGate>& pass) const;

  /// \brief forward() with given experts instead of drawn ones, to replay a run.
  /// \param drawn    k per sample, ascending
  /// \param carrier  one per sample: which of them carries the gradient
  /// \throws std::invalid_argument if they are no such sets
  void forward(const Samples<S>& samples, std::span<const ExpertId> drawn,
               std::span<const ExpertId> carrier, Routing<S>& routing,
               Pass<SampledGate>& pass) const;

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<SampledGate>& pass) const;

  /// \brief The penalties of the last forward(), each times its strength.
  [[nodiscard]] S regularization(const Pass<SampledGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief A gate that routes to the same bits and does nothing else. \see FreezableGate
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenSampledGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, 1);
    return {tables_, detail::slot_labels(permutations, num_experts(), 1)};
  }
  /// \brief Which experts route() took against which, and by what features. \see ExplainableGate
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const {
    detail::check_explainable(*this, x, names);
    Pass<SampledGate> pass(*this);
    Routing<S> row;
    route(x, row, pass);
    return detail::explain_linear(tables_.logits, x, row, permutations, names);
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    tables_.logits.visit(f);
  }

 private:
  static SampledGateOptions validated(const SampledGateOptions& options) {
    constexpr const char* where = "SampledGate";
    detail::check_at_least(where, "input_dim", options.input_dim, 1);
    detail::check_selection(where, options, 2);
    detail::check_positive_as<S>(where, "temperature", options.temperature);
    detail::check_not_negative_as<S>(where, "trimmed_lasso", options.trimmed_lasso);
    detail::check_row_penalties<S>(where, options);
    return options;
  }
  static SampledTables<S> tables(const SampledGateOptions& options, RandomKey key) {
    Hyperplanes<S> logits(options.input_dim, options.num_experts, Hyperplanes<S>::Offsets::none);
    logits.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
    return {options.k, std::move(logits)};
  }

  template <class Draw>
  void evaluate(const Samples<S>& samples, Routing<S>& routing, Pass<SampledGate>& pass,
                Draw draw) const;
  void fill_shares(const S* h, S* g) const;
  S trimmed(const S* h, const S* g, ExpertId* order, ExpertId* largest) const;

  SampledGateOptions options_;
  SampledTables<S> tables_;
  detail::Identity identity_;
};

/// \brief Scratch of a SampledGate. Its matrices have a column per sample that is no padding.
template <class S>
class SampledGate<S>::Workspace {
  friend class SampledGate;

  detail::LogitBatch<S> batch_;
  Buffer<S> shares_;  // n x B
  detail::SoftmaxPenalties<S> penalties_;
  std::vector<double> left_;         // n per tile: shares that can still be drawn
  std::vector<S> trimmed_;           // B: sums of all but the k largest shares
  std::vector<ExpertId> largest_;    // k per sample: those k
  std::vector<ExpertId> carriers_;   // B
  std::vector<ExpertId> order_;      // n per tile
  std::vector<std::int32_t> sizes_;  // k each, 0 for padding
  Index num_rows_ = 0;               // that are no padding, of all ranks if there is a penalty
  S regularization_ = 0;
};

template <class S>
void SampledGate<S>::route(const Samples<S>& samples, Routing<S>& routing,
                           Pass<SampledGate>& pass) const {
  constexpr const char* where = "SampledGate::route";
  auto& ws = pass.workspace;
  ws.regularization_ = 0;
  ws.batch_.begin(where, samples, input_dim());
  const auto& live = ws.batch_.live();
  const Index n = num_experts(), k = options_.k;
  ws.order_.resize(std::size_t(detail::num_tiles(live.size()) * n));
  detail::size_rows(live, samples.size(), k, ws.sizes_, routing);
  std::fill(routing.weights().begin(), routing.weights().end(), tables_.weight());
  ws.batch_.evaluate(where, samples, tables_.logits, pass.pool, [&](Index column, Index tile) {
    ExpertId* order = ws.order_.data() + tile * n;
    tables_.select(ws.batch_.logits(column), order);
    std::copy_n(order, k, routing.experts().data() + routing.offsets()[std::size_t(live[column])]);
  });
}

/// g = softmax(h / tau)
template <class S>
void SampledGate<S>::fill_shares(const S* h, S* g) const {
  const Index n = num_experts();
  const auto factor = S(1 / options_.temperature);
  const S largest = *std::max_element(h, h + n);
  S sum = 0;
  for (Index i = 0; i < n; ++i) sum += g[i] = std::exp((h[i] - largest) * factor);
  for (Index i = 0; i < n; ++i) g[i] /= sum;
}

/// The sum of all but the k largest shares. \param largest  k: those
template <class S>
S SampledGate<S>::trimmed(const S* h, const S* g, ExpertId* order, ExpertId* largest) const {
  tables_.select(h, order);
  std::copy_n(order, options_.k, largest);
  S kept = 0;
  for (Index i = 0; i < options_.k; ++i) kept += g[largest[i]];
  return std::max(S(0), S(1) - kept);
}

/// \param draw  draw(column, b, tile, drawn) fills k places and returns the carrier
template <class S>
template <class Draw>
void SampledGate<S>::evaluate(const Samples<S>& samples, Routing<S>& routing,
                              Pass<SampledGate>& pass, Draw draw) const {
  constexpr const char* where = "SampledGate::forward";
  auto& ws = pass.workspace;
  ws.regularization_ = 0;
  ws.batch_.begin(where, samples, input_dim());
  const auto& live = ws.batch_.live();
  const Index n = num_experts(), k = options_.k;
  const bool penalty = options_.trimmed_lasso > 0;
  auto shares = ws.shares_.shape(n, live.size());
  const auto scratch = std::size_t(detail::num_tiles(live.size()) * n);
  ws.left_.resize(scratch);
  ws.order_.resize(scratch);
  ws.carriers_.resize(std::size_t(live.size()));
  ws.trimmed_.assign(std::size_t(live.size()), S(0));
  ws.largest_.resize(std::size_t(live.size() * k));
  detail::size_rows(live, samples.size(), k, ws.sizes_, routing);
  ws.batch_.evaluate(where, samples, tables_.logits, pass.pool, [&](Index column, Index tile) {
    const S* h = ws.batch_.logits(column);
    S* g = shares.col(column).data();
    fill_shares(h, g);
    const Index b = live[column];
    const auto entry = std::size_t(routing.offsets()[std::size_t(b)]);
    ExpertId* drawn = routing.experts().data() + entry;
    const ExpertId carrier = draw(column, b, tile, drawn);
    ws.carriers_[std::size_t(column)] = carrier;
    for (Index i = 0; i < k; ++i)
      routing.weights()[entry + std::size_t(i)] =
          (drawn[i] == carrier ? g[carrier] : S(1) / S(k - 1)) / (S(1) + g[carrier]);
    if (penalty)
      ws.trimmed_[std::size_t(column)] =
          trimmed(h, g, ws.order_.data() + tile * n, ws.largest_.data() + column * k);
  });
  double sum = 0;
  for (const S value : ws.trimmed_) sum += double(value);
  ws.num_rows_ = live.size();
  if (penalty) {
    ws.num_rows_ = pass.rank_sum.count(live.size());
    sum = pass.rank_sum(sum);
  }
  ws.regularization_ =
      ws.num_rows_ == 0 ? S(0) : S(options_.trimmed_lasso * sum / double(ws.num_rows_));
  if (detail::SoftmaxPenalties<S>::wanted(options_))
    ws.regularization_ += S(ws.penalties_.evaluate(options_, shares, pass.rank_sum));
  ws.batch_.end_forward(identity_, samples, routing);
}

template <class S>
void SampledGate<S>::forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                             Pass<SampledGate>& pass) const {
  auto& ws = pass.workspace;
  evaluate(samples, routing, pass, [&](Index column, Index b, Index tile, ExpertId* drawn) {
    const RandomKey own = key.fold(samples.first + b);
    const Index n = num_experts(), k = options_.k;
    detail::draw_experts(ws.batch_.logits(column), ws.shares_.matrix().col(column).data(), n, k,
                         own, ws.left_.data() + tile * n, drawn);
    return drawn[own.index(std::uint64_t(k), std::uint64_t(k))];
  });
}

template <class S>
void SampledGate<S>::forward(const Samples<S>& samples, std::span<const ExpertId> drawn,
                             std::span<const ExpertId> carrier, Routing<S>& routing,
                             Pass<SampledGate>& pass) const {
  constexpr const char* where = "SampledGate::forward";
  pass.workspace.batch_.clear();
  const Index k = options_.k;
  detail::check_equal(where, "drawn.size()", Index(drawn.size()), "k * x.cols()",
                      k * samples.size());
  detail::check_equal(where, "carrier.size()", Index(carrier.size()), "x.cols()", samples.size());
  for (Index b = 0; b < samples.size(); ++b)
    if (samples.is_live(b))
      detail::check_drawn(where, b, drawn.subspan(std::size_t(b * k), std::size_t(k)),
                          carrier[std::size_t(b)], num_experts());
  evaluate(samples, routing, pass, [&](Index, Index b, Index, ExpertId* out) {
    std::copy_n(drawn.data() + b * k, k, out);
    return carrier[std::size_t(b)];
  });
}

template <class S>
void SampledGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                              std::span<const S> dweights, MatrixView<S> dx,
                              Pass<SampledGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("SampledGate::backward", routing, dweights, dx, ws.batch_.forward(),
                            identity_);
  const Index k = options_.k;
  const auto shares = ws.shares_.matrix();
  const auto factor = S(1 / options_.temperature);
  const S lasso = S(options_.trimmed_lasso) * factor / S(std::max(Index(1), ws.num_rows_));
  const bool penalties = detail::SoftmaxPenalties<S>::wanted(options_);
  const auto by_logits = [&](Index column, Index b, auto add) {
    const auto experts = routing.experts(b);
    const auto weights = routing.weights(b);
    const S* by = dweights.data() + routing.offsets()[std::size_t(b)];
    const ExpertId carrier = ws.carriers_[std::size_t(column)];
    S mean = 0, of_carrier = 0;  // w_j (dw_j - mean) / tau
    for (std::size_t i = 0; i < experts.size(); ++i) mean += weights[i] * by[i];
    for (std::size_t i = 0; i < experts.size(); ++i)
      if (experts[i] == carrier) of_carrier = factor * weights[i] * (by[i] - mean);
    const ExpertId* largest = ws.largest_.data() + column * k;
    const S trimmed = ws.trimmed_[std::size_t(column)];
    S by_shares = 0;  // mean of the derivatives by a share
    if (penalties)
      for (Index i = 0; i < num_experts(); ++i)
        by_shares += shares(i, column) * ws.penalties_.derivative(i, shares(i, column));
    Index next = 0;
    for (Index i = 0; i < num_experts(); ++i) {
      S value = -of_carrier;
      if (lasso > S(0)) {
        const bool kept = next < k && largest[next] == i;
        value += lasso * ((kept ? S(0) : S(1)) - trimmed);
        next += kept;
      }
      if (penalties) value += factor * (ws.penalties_.derivative(i, shares(i, column)) - by_shares);
      value *= shares(i, column);
      add(i, i == carrier ? value + of_carrier : value);
    }
  };
  ws.batch_.backward(samples, tables_.logits, pass.gradients(*this), dx, pass.pool, by_logits);
}

}  // namespace comet
