// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/gates/detail/top_k_selection.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/softmax.hpp>

/// \file
/// \brief Gates that only route, of those with one linear logit per expert: each says how it goes
/// from n logits to a row, in training and frozen alike.

namespace comet {

/// \brief What a gate makes of its logits before it compares them.
enum class GateScores {
  softmax,  ///< shares of all n
  sigmoid,  ///< each by itself
};

namespace detail {

/// The logits of one sample; false if one is not finite.
template <class S>
[[nodiscard]] bool fill_logits(const Hyperplanes<S>& planes, const S* x, std::vector<S>& logits) {
  logits.resize(std::size_t(planes.size()));
  for (Index i = 0; i < planes.size(); ++i) {
    logits[std::size_t(i)] = planes.logit(i, x);
    if (!std::isfinite(logits[std::size_t(i)])) return false;
  }
  return true;
}

}  // namespace detail

/// \brief The numbers of a BalancedTopKGate, and how it routes one sample.
/// \see docs/math.md, equations (13)-(14)
template <class S>
struct BalancedTopKTables {
  using Scalar = S;                                                           ///< float or double.
  static constexpr std::string_view name = "frozen_balanced_top_k";           ///< Of the gate.
  static constexpr std::string_view where = "FrozenBalancedTopKGate::route";  ///< In messages.

  Index k;                  ///< experts that are taken
  GateScores scores;        ///< What the bias is added to.
  bool normalize;           ///< Whether weights are divided by their sum.
  Hyperplanes<S> logits;    ///< One function per expert.
  std::vector<S> bias;      ///< One per expert, for the selection alone.
  Index n = logits.size();  ///< experts

  [[nodiscard]] Index input_dim() const noexcept { return logits.input_dim(); }  ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                 ///< n
  [[nodiscard]] Index max_active() const noexcept { return k; }                  ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return n; }                   ///< Labels.

  /// \brief From logits h to a row: scores s of all n, the k largest of s + bias, their weights.
  /// \param order    n, scratch: its first k become the selected ones, ascending
  /// \param weights  k, in the order of the selected ones
  void select(const S* h, S* s, ExpertId* order, S* weights) const {
    const bool shares = scores == GateScores::softmax;
    if (shares) {
      detail::softmax(h, n, s);
    } else {
      for (Index i = 0; i < n; ++i) s[i] = sigmoid(h[i]);
    }
    detail::take_largest(n, k, order, [&](ExpertId i) { return s[i] + bias[std::size_t(i)]; });
    if (!normalize) {
      for (Index i = 0; i < k; ++i) weights[i] = s[order[i]];
      return;
    }
    // Scores may all be 0 in S where their quotients are not: a softmax of their logarithms.
    for (Index i = 0; i < k; ++i) weights[i] = shares ? h[order[i]] : -softplus(-h[order[i]]);
    detail::softmax(weights, k, weights);
  }

  /// Memory for one sample.
  struct Scratch {
    std::vector<S> logits;        ///< n
    std::vector<S> scores;        ///< n
    std::vector<S> weights;       ///< k
    std::vector<ExpertId> order;  ///< n
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    if (!detail::fill_logits(logits, x, scratch.logits)) return false;
    scratch.scores.resize(std::size_t(n));
    scratch.order.resize(std::size_t(n));
    scratch.weights.resize(std::size_t(k));
    select(scratch.logits.data(), scratch.scores.data(), scratch.order.data(),
           scratch.weights.data());
    for (std::size_t i = 0; i < scratch.weights.size(); ++i)
      add(Index(scratch.order[i]), scratch.weights[i]);
    return true;
  }
};

/// \brief The numbers of a SampledGate: the k largest logits, each with weight 1/k.
/// \see docs/math.md, equation (21)
template <class S>
struct SampledTables {
  using Scalar = S;                                                      ///< float or double.
  static constexpr std::string_view name = "frozen_sampled";             ///< Of the gate.
  static constexpr std::string_view where = "FrozenSampledGate::route";  ///< In messages.

  Index k;                  ///< experts that are taken
  Hyperplanes<S> logits;    ///< One function per expert.
  Index n = logits.size();  ///< experts

  [[nodiscard]] Index input_dim() const noexcept { return logits.input_dim(); }  ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                 ///< n
  [[nodiscard]] Index max_active() const noexcept { return k; }                  ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return n; }                   ///< Labels.
  /// Of every expert that is taken.
  [[nodiscard]] S weight() const noexcept { return S(1) / S(k); }

  /// \brief The k largest logits. \param order  n, scratch: its first k become them, ascending
  void select(const S* h, ExpertId* order) const {
    detail::take_largest(n, k, order, [h](ExpertId i) { return h[i]; });
  }

  /// Memory for one sample.
  struct Scratch {
    std::vector<S> logits;        ///< n
    std::vector<ExpertId> order;  ///< n
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    if (!detail::fill_logits(logits, x, scratch.logits)) return false;
    scratch.order.resize(scratch.logits.size());
    select(scratch.logits.data(), scratch.order.data());
    for (Index i = 0; i < k; ++i) add(Index(scratch.order[std::size_t(i)]), weight());
    return true;
  }
};

/// \brief The numbers of a ReMoeGate: every logit above 0 is a weight.
/// \see docs/math.md, equation (22)
template <class S>
struct ReMoeTables {
  using Scalar = S;                                                    ///< float or double.
  static constexpr std::string_view name = "frozen_remoe";             ///< Of the gate.
  static constexpr std::string_view where = "FrozenReMoeGate::route";  ///< In messages.

  Hyperplanes<S> logits;    ///< One function per expert.
  Index n = logits.size();  ///< experts

  [[nodiscard]] Index input_dim() const noexcept { return logits.input_dim(); }  ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                 ///< n
  [[nodiscard]] Index max_active() const noexcept { return n; }                  ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return n; }                   ///< Labels.

  /// Memory for one sample.
  struct Scratch {
    std::vector<S> logits;  ///< n
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    if (!detail::fill_logits(logits, x, scratch.logits)) return false;
    for (Index i = 0; i < n; ++i)
      if (scratch.logits[std::size_t(i)] > S(0)) add(i, scratch.logits[std::size_t(i)]);
    return true;
  }
};

template <class S>
using FrozenBalancedTopKGate = FrozenGate<BalancedTopKTables<S>>;  ///< Of a BalancedTopKGate.
template <class S>
using FrozenSampledGate = FrozenGate<SampledTables<S>>;  ///< Of a SampledGate.
template <class S>
using FrozenReMoeGate = FrozenGate<ReMoeTables<S>>;  ///< Of a ReMoeGate.

}  // namespace comet
