// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

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
#include <comet/gates/frozen_logits.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet {

/// Settings of a ReMoeGate, with defaults where there is a sensible one.
struct ReMoeGateOptions {
  Index input_dim = 0;     ///< d >= 1
  Index num_experts = 0;   ///< n >= 1
  Index k = 2;             ///< experts per sample that the penalty aims at, 1 <= k <= n
  double sparsity = 1e-8;  ///< strength lambda of the penalty at the start, in [1e-20, 1e20]
  double growth = 1.2;     ///< what lambda is multiplied or divided by at the end of a step, > 1
};

/// \brief ReLU routing: every expert decides by itself, and a penalty that regulates itself makes
/// them few.
///
///     g = ReLU(W^T x + c)                                          (Wang et al., ReMoE, ICLR 2025)
///
///     penalty = lambda mean_b sum_i f_i g_i(b),  f_i = n / k times the share of samples that
///                                                expert i is active for
///
/// Continuous everywhere, and differentiable but where a logit is 0. Rows have any length, also 0;
/// weights are not bounded and do not sum to 1. f has no gradient: it makes a busy expert dearer.
/// end_of_step(load, pass) multiplies lambda by `growth` if the rows of the pass's last forward()
/// have more than k entries on average, and divides it if they have fewer: some hundred steps bring
/// the mean near k. It stays within [1e-20, 1e20], so that a phase of empty or full rows does not
/// lose it for ever. lambda is state and no parameter: a checkpoint has it by visit_state().
///
/// An expert whose logit is negative for every sample has no gradient.
///
/// \par Cost     d n multiply-adds per sample; backward 2 d per active pair
/// \par Threads  const but for end_of_step(): concurrent calls are safe with distinct passes
/// \tparam S     float or double
/// \see docs/math.md, equations (22)-(24)
template <class S>
class ReMoeGate {
 public:
  using Scalar = S;                                  ///< float or double.
  using Options = ReMoeGateOptions;                  ///< Settings of the constructor.
  static constexpr std::string_view name = "remoe";  ///< What options and tables call it.

  /// \brief Scratch of a ReMoeGate.
  class Workspace {
    friend class ReMoeGate;
    detail::LogitBatch<S> batch_;
    std::vector<std::int32_t> sizes_;  // per sample
    std::vector<double> counts_;       // n: samples of each expert; and one more: all
    std::vector<S> prices_;            // n: lambda f_i / B
    Index num_entries_ = 0;            // of the last forward(), on all ranks
    Index num_rows_ = 0;               // likewise
    S regularization_ = 0;
  };

  /// Weights and biases uniform in +-1/sqrt(d).
  /// \throws std::invalid_argument if an option is outside its bounds
  ReMoeGate(ReMoeGateOptions options, RandomKey key)
      : options_(validated(options)), tables_(tables(options, key)), sparsity_(options.sparsity) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give: all.
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings at the start.
  [[nodiscard]] const ReMoeGateOptions& options() const noexcept { return options_; }
  /// Strength lambda of the penalty now.
  [[nodiscard]] double sparsity() const noexcept { return sparsity_; }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<ReMoeGate>& pass) const {
    evaluate("ReMoeGate::route", samples, routing, pass);
  }
  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<ReMoeGate>& pass) const {
    evaluate("ReMoeGate::forward", samples, routing, pass);
    price(routing, pass);
    pass.workspace.batch_.end_forward(identity_, samples, routing);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<ReMoeGate>& pass) const {
    auto& ws = pass.workspace;
    samples.validate_backward("ReMoeGate::backward", routing, dweights, dx, ws.batch_.forward(),
                              identity_);
    const auto by_logits = [&](Index, Index b, auto add) {
      const auto experts = routing.experts(b);
      const S* by = dweights.data() + routing.offsets()[std::size_t(b)];
      for (std::size_t i = 0; i < experts.size(); ++i)
        add(experts[i], by[i] + ws.prices_[std::size_t(experts[i])]);
    };
    ws.batch_.backward(samples, tables_.logits, pass.gradients(*this), dx, pass.pool, by_logits);
  }

  /// \brief The penalty of the last forward().
  [[nodiscard]] S regularization(const Pass<ReMoeGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief Moves lambda so that the next rows are longer or shorter. \see LoadedGate
  /// \param load  samples per expert; of it only the size is looked at
  /// \param pass  of the step's forward(), whose rows count
  /// \throws std::invalid_argument if the pass holds no forward()
  void end_of_step(std::span<const Index> load, const Pass<ReMoeGate>& pass) {
    const auto& ws = pass.workspace;
    detail::check_end_of_step("ReMoeGate::end_of_step", load, num_experts(), ws.batch_);
    const Index excess = ws.num_entries_ - options_.k * ws.num_rows_;
    if (excess > 0) sparsity_ = std::min(largest, sparsity_ * options_.growth);
    if (excess < 0) sparsity_ = std::max(smallest, sparsity_ / options_.growth);
  }

  /// \brief A gate that routes to the same bits and does nothing else. \see FreezableGate
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenReMoeGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, 1);
    return {tables_, detail::slot_labels(permutations, num_experts(), 1)};
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    tables_.logits.visit(f);
  }
  /// \brief lambda. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("sparsity", std::span<double>(&sparsity_, 1));
  }
  /// \brief lambda. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("sparsity", std::span<const double>(&sparsity_, 1));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if lambda is outside its bounds
  void restored() const { check_sparsity("ReMoeGate::restored", sparsity_); }

 private:
  static constexpr double smallest = 1e-20, largest = 1e20;  // of lambda

  static void check_sparsity(std::string_view where, double value) {
    if (!(value >= smallest && value <= largest)) [[unlikely]]
      detail::raise(where, "sparsity", value, "in [1e-20, 1e20]");
  }
  static ReMoeGateOptions validated(const ReMoeGateOptions& options) {
    constexpr const char* where = "ReMoeGate";
    detail::check_at_least(where, "input_dim", options.input_dim, 1);
    detail::check_selection(where, options);
    check_sparsity(where, options.sparsity);
    if (!(options.growth > 1 && std::isfinite(options.growth))) [[unlikely]]
      detail::raise(where, "growth", options.growth, "a finite number > 1");
    return options;
  }
  static ReMoeTables<S> tables(const ReMoeGateOptions& options, RandomKey key) {
    Hyperplanes<S> logits(options.input_dim, options.num_experts);
    logits.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
    return {std::move(logits)};
  }

  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<ReMoeGate>& pass) const;
  void price(const Routing<S>& routing, Pass<ReMoeGate>& pass) const;

  ReMoeGateOptions options_;
  ReMoeTables<S> tables_;
  double sparsity_;  // lambda
  detail::Identity identity_;
};

template <class S>
void ReMoeGate<S>::evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                            Pass<ReMoeGate>& pass) const {
  auto& ws = pass.workspace;
  ws.regularization_ = 0;
  ws.batch_.begin(where, samples, input_dim());
  const auto& live = ws.batch_.live();
  const Index n = num_experts();
  ws.sizes_.assign(std::size_t(samples.size()), 0);
  ws.batch_.evaluate(where, samples, tables_.logits, pass.pool, [&](Index column, Index) {
    const S* h = ws.batch_.logits(column);
    ws.sizes_[std::size_t(live[column])] =
        std::int32_t(std::count_if(h, h + n, [](S logit) { return logit > S(0); }));
  });
  routing.resize(ws.sizes_);
  for (Index column = 0; column < live.size(); ++column) {
    const S* h = ws.batch_.logits(column);
    auto entry = std::size_t(routing.offsets()[std::size_t(live[column])]);
    for (Index i = 0; i < n; ++i) {
      if (!(h[i] > S(0))) continue;
      routing.experts()[entry] = ExpertId(i);
      routing.weights()[entry++] = h[i];
    }
  }
}

/// What a unit of an expert's weight costs, and what the weights of the batch do.
template <class S>
void ReMoeGate<S>::price(const Routing<S>& routing, Pass<ReMoeGate>& pass) const {
  auto& ws = pass.workspace;
  const auto n = std::size_t(num_experts());
  ws.regularization_ = 0;
  ws.counts_.assign(n + 1, 0);  // and, at the end, that of the rows
  for (const ExpertId expert : routing.experts()) ++ws.counts_[std::size_t(expert)];
  ws.counts_[n] = double(ws.batch_.live().size());
  pass.rank_sum(ws.counts_);
  double num_entries = 0;
  for (std::size_t i = 0; i < n; ++i) num_entries += ws.counts_[i];
  ws.num_entries_ = Index(num_entries);
  ws.num_rows_ = Index(ws.counts_[n]);
  ws.prices_.assign(n, S(0));
  if (ws.num_rows_ == 0) return;
  const double size = ws.counts_[n];
  const double price = sparsity_ * double(n) / (double(options_.k) * size * size);
  for (std::size_t i = 0; i < n; ++i) ws.prices_[i] = S(price * ws.counts_[i]);
  double sum = 0;
  for (std::size_t e = 0; e < routing.experts().size(); ++e)
    sum += double(ws.prices_[std::size_t(routing.experts()[e])] * routing.weights()[e]);
  sum = pass.rank_sum(sum);
  if (!std::isfinite(S(sum))) [[unlikely]]
    detail::raise_not_finite("ReMoeGate::forward", "the penalty", "overflows");
  ws.regularization_ = S(sum);
}

}  // namespace comet
