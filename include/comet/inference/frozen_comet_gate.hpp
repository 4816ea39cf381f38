// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/detail/frozen.hpp>
#include <comet/kernels/functions.hpp>

namespace comet {

/// \brief A COMET gate for inference: values only, permutations folded into the leaves' labels, and
/// a walk made for one sample at a time.
///
/// route() gives the bits of the gate it was made from. Folding is a table of expert numbers and
/// not a new order of leaves, so that all sums keep theirs.
///
/// \par Cost     per sample d multiply-adds for each live node and leaf; half the gate's memory
/// \par Threads  route() is const: concurrent calls are safe with distinct routings and workspaces
/// \see freeze
template <class S>
class FrozenCometGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
  class Workspace;

  /// \param permutations  one for all trees, or one per tree
  FrozenCometGate(const CometGate<S>& gate, std::span<const Permutation> permutations)
      : num_experts_(gate.num_experts()),
        num_trees_(gate.num_trees()),
        gamma_(S(gate.options().gamma)),
        splits_(detail::frozen_planes(gate, "split.")),
        leaves_(detail::frozen_planes(gate, "leaf.")) {
    const std::vector<Permutation> each(permutations.size() == 1 ? std::size_t(num_trees_) : 0,
                                        permutations.front());
    labels_ = detail::slot_labels(each.empty() ? permutations : std::span(each));
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return leaves_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return num_experts_; }
  /// Number of trees k.
  [[nodiscard]] Index num_trees() const noexcept { return num_trees_; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return num_experts_; }
  /// Width of the smooth-step.
  [[nodiscard]] S gamma() const noexcept { return gamma_; }
  /// Column q k + j is node q (heap order) of tree j.
  [[nodiscard]] const detail::FrozenPlanes<S>& splits() const noexcept { return splits_; }
  /// Column i k + j is leaf i (from left to right) of tree j.
  [[nodiscard]] const detail::FrozenPlanes<S>& leaves() const noexcept { return leaves_; }
  /// The expert of leaf i of tree j, at i k + j.
  [[nodiscard]] std::span<const ExpertId> labels() const noexcept { return labels_; }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), x is not finite, or logits overflow
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const;

 private:
  void visit(const S* x, Index node, Index level, Workspace& ws) const;
  [[nodiscard]] bool normalize(Workspace& ws) const;

  Index num_experts_;
  Index num_trees_;
  S gamma_;
  detail::FrozenPlanes<S> splits_;  // d x (n-1)k
  detail::FrozenPlanes<S> leaves_;  // d x n k
  std::vector<ExpertId> labels_;    // n k
};

/// \brief Scratch of a FrozenCometGate: give each thread its own.
template <class S>
class FrozenCometGate<S>::Workspace {
 private:
  friend class FrozenCometGate;

  struct Leaf {
    ExpertId expert;
    S reach;
    S factor;  // the logit, then exp(logit) / sum: the weight is reach * factor
  };

  std::vector<S> reach_;  // level x tree: of the node that is open there
  std::vector<S> share_;  // the same places
  std::vector<Leaf> leaves_;
  S sum_ = 0;  // of reach * exp(logit); nan if a split's logit is
  detail::FrozenRow<S> row_;
};

template <class S>
void FrozenCometGate<S>::route(const ConstMatrixView<S>& x, Routing<S>& routing,
                               Workspace& ws) const {
  const auto levels = std::size_t(std::bit_width(std::size_t(num_experts_ - 1))) + 1;
  ws.reach_.resize(levels * std::size_t(num_trees_));
  ws.share_.resize(levels * std::size_t(num_trees_));
  detail::route_frozen("FrozenCometGate::route", x, input_dim(), routing, ws.row_,
                       [&](const S* sample) {
                         ws.leaves_.clear();
                         ws.sum_ = 0;
                         std::fill_n(ws.reach_.begin(), num_trees_, S(1));
                         visit(sample, 0, 0, ws);
                         return normalize(ws);
                       });
}

/// All trees side by side, left subtrees first: leaves come out in the order of the gate's sums.
template <class S>
void FrozenCometGate<S>::visit(const S* x, Index node, Index level, Workspace& ws) const {
  const Index n = num_experts_;
  const Index k = num_trees_;
  S* reach = ws.reach_.data() + level * k;
  if (node >= n - 1) {
    // The deepest leaves are the leftmost ones.
    const auto deepest = Index(std::bit_floor(std::size_t(2 * n - 1))) - 1;
    const Index leaf = node >= deepest ? node - deepest : node + n - deepest;
    for (Index j = 0; j < k; ++j)
      if (reach[j] > S(0))
        ws.leaves_.push_back(
            {labels_[std::size_t(leaf * k + j)], reach[j], leaves_.logit(leaf * k + j, x)});
    return;
  }
  S* share = ws.share_.data() + level * k;
  for (Index j = 0; j < k; ++j) {
    if (!(reach[j] > S(0))) continue;
    share[j] = smooth_step(splits_.logit(node * k + j, x), gamma_);
    if (std::isnan(share[j])) [[unlikely]]
      ws.sum_ = share[j];
  }
  for (const Index side : {0, 1}) {
    bool live = false;
    for (Index j = 0; j < k; ++j) {
      S& child = reach[k + j];
      child = reach[j] > S(0) ? reach[j] * (side == 0 ? share[j] : S(1) - share[j]) : S(0);
      live |= child > S(0);
    }
    if (live) visit(x, 2 * node + 1 + side, level + 1, ws);
  }
}

template <class S>
bool FrozenCometGate<S>::normalize(Workspace& ws) const {
  S largest = -std::numeric_limits<S>::infinity();
  for (const auto& leaf : ws.leaves_) largest = std::max(largest, leaf.factor);
  for (auto& leaf : ws.leaves_) {
    leaf.factor = std::exp(leaf.factor - largest);
    ws.sum_ += leaf.reach * leaf.factor;
  }
  if (!(ws.sum_ >= std::numeric_limits<S>::min() && std::isfinite(ws.sum_))) [[unlikely]]
    return false;
  for (auto& leaf : ws.leaves_) {
    leaf.factor /= ws.sum_;
    ws.row_.add(leaf.expert, leaf.reach * leaf.factor);
  }
  return true;
}

}  // namespace comet
