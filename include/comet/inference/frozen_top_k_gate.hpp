// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/frozen.hpp>
#include <comet/gates/top_k.hpp>

namespace comet {

/// \brief A Top-k gate for inference: values only, the permutation folded into the logits' labels.
///
/// route() gives the bits of the gate it was made from, ties included: the smaller slot wins, as
/// before the permutation.
///
/// \par Cost     d n multiply-adds per sample and a partial selection; half the gate's memory
/// \par Threads  route() is const: concurrent calls are safe with distinct routings and workspaces
/// \see freeze
template <class S>
class FrozenTopKGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.

  /// \brief Scratch of a FrozenTopKGate: give each thread its own.
  class Workspace {
    friend class FrozenTopKGate;
    std::vector<S> logits_;
    std::vector<ExpertId> order_;
    std::vector<S> weights_;
    detail::FrozenRow<S> row_;
  };

  /// \param permutation  of the logits: logit i is expert permutation(i)
  FrozenTopKGate(const TopKGate<S>& gate, const Permutation& permutation)
      : k_(gate.options().k),
        softmax_(gate.options().softmax),
        logits_(detail::frozen_planes(gate, "")),
        labels_(detail::slot_labels(std::span(&permutation, 1))) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return logits_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return logits_.size(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return k_; }
  /// What the weights are normalised over.
  [[nodiscard]] TopKSoftmax softmax() const noexcept { return softmax_; }
  /// One function per column.
  [[nodiscard]] const detail::FrozenPlanes<S>& logits() const noexcept { return logits_; }
  /// The expert of every logit.
  [[nodiscard]] std::span<const ExpertId> labels() const noexcept { return labels_; }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), x is not finite, or logits overflow
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& ws) const {
    ws.logits_.resize(std::size_t(num_experts()));
    ws.order_.resize(std::size_t(num_experts()));
    ws.weights_.resize(std::size_t(k_));
    detail::route_frozen("FrozenTopKGate::route", x, input_dim(), routing, ws.row_,
                         [&](const S* sample) { return route_sample(sample, ws); });
  }

 private:
  [[nodiscard]] bool route_sample(const S* x, Workspace& ws) const {
    std::vector<S>& h = ws.logits_;
    for (std::size_t i = 0; i < h.size(); ++i) {
      h[i] = logits_.logit(Index(i), x);
      if (!std::isfinite(h[i])) [[unlikely]]
        return false;
    }
    const auto larger = [&](ExpertId i, ExpertId j) {
      const S hi = h[std::size_t(i)], hj = h[std::size_t(j)];
      return hi > hj || (hi == hj && i < j);
    };
    auto& order = ws.order_;
    std::iota(order.begin(), order.end(), ExpertId(0));
    std::nth_element(order.begin(), order.begin() + (k_ - 1), order.end(), larger);
    const S largest = h[std::size_t(*std::min_element(order.begin(), order.begin() + k_, larger))];
    std::sort(order.begin(), order.begin() + k_);

    // With a softmax over all logits the others are added in the order the selection left them in,
    // which is that of the gate: it runs the same algorithm on the same numbers.
    const auto share = [&](std::size_t i) { return std::exp(h[std::size_t(order[i])] - largest); };
    const auto k = std::size_t(k_);
    S sum = 0;
    for (std::size_t i = 0; i < k; ++i) sum += ws.weights_[i] = share(i);
    if (softmax_ == TopKSoftmax::all)
      for (std::size_t i = k; i < order.size(); ++i) sum += share(i);
    for (std::size_t i = 0; i < k; ++i)
      ws.row_.add(labels_[std::size_t(order[i])], ws.weights_[i] / sum);
    return true;
  }

  Index k_;
  TopKSoftmax softmax_;
  detail::FrozenPlanes<S> logits_;  // d x n
  std::vector<ExpertId> labels_;    // n
};

}  // namespace comet
