// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/portable/route.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet::detail {

/// Bits of the expert numbers 0..n-1, at least one.
inline Index num_code_bits(Index num_experts) {
  return std::max(Index(1), Index(std::bit_width(std::size_t(num_experts - 1))));
}

/// What the selectors of a DSelect-k gate have in common.
template <class S>
struct DSelectKShape {
  Index num_experts = 1;
  Index k = 1;
  S gamma = 1;
  S entropy = 0;       // strength of the penalty
  S reachability = 0;  // strength of the penalty
  Index bits = num_code_bits(num_experts);

  /// Whether some codes are no experts.
  [[nodiscard]] bool loses_codes() const { return (Index(1) << bits) != num_experts; }
};

/// \brief The selectors of DSelect-k at work on a few samples: soft trees of 2^m leaves whose
/// levels share hyperplanes, and whose leaves share a selector's logit.
///
/// Leaf i is code i; a split's left child has the bit 0. What is beyond the last expert is cut.
template <class S>
class DSelectKTile {
 public:
  using Walk = SoftTreeTile<S>;
  using Leaf = typename Walk::Leaf;
  static constexpr int lanes = Walk::lanes;

  Walk& walk() { return walk_; }
  [[nodiscard]] const Walk& walk() const { return walk_; }

  /// Down the trees.
  /// \param z  k m logits for each sample, selector by selector    \param w  k logits
  /// \return the first sample of which a logit is not finite, or count()
  int descend(const DSelectKShape<S>& shape, const S* z, const S* w, Purpose purpose, Rows rows) {
    shape_ = shape;
    z_ = z;
    const Index planes = shape.k * shape.bits;
    share_.resize(std::size_t(planes * lanes));
    mixture_.resize(std::size_t(shape.k * lanes));
    for (int lane = 0; lane < walk_.count(); ++lane, w += shape.k) {
      S check = 0;
      for (Index i = 0; i < planes; ++i) {
        const S logit = z[lane * planes + i];
        share_[std::size_t(i * lanes + lane)] = smooth_step(logit, shape.gamma);
        check += logit * S(0);
      }
      for (Index j = 0; j < shape.k; ++j) check += w[j] * S(0);
      if (check != S(0)) [[unlikely]]
        return lane;
      portable::softmax(w, shape.k, &mixture_[std::size_t(lane * shape.k)]);
    }
    walk_.descend(*this, portable::TreeShape(Index(1) << shape.bits), purpose, rows);
    return walk_.count();
  }

  /// entropy * sum_ij -r log(r + 1e-6) + reachability * sum_j 1 / (1e-6 + sum_i r), summed over the
  /// samples.
  [[nodiscard]] S penalty() {
    S by_lane[std::size_t(lanes)] = {};
    if (shape_.entropy > S(0))
      for (const Leaf& leaf : walk_.leaves())
        by_lane[leaf.lane] += shape_.entropy * entropy_term(leaf.reach);
    keep();
    S sum = 0;
    for (int lane = 0; lane < walk_.count(); ++lane) {
      if (shape_.loses_codes() && shape_.reachability > S(0))
        for (Index j = 0; j < shape_.k; ++j)
          by_lane[lane] += shape_.reachability / (S(epsilon) + kept_[place(lane, j)]);
      sum += by_lane[lane];
    }
    return sum;
  }

  /// Derivatives of sum(by_weight . weight) + penalty() / num_samples + spread.
  /// \param by_entry  by_entry(leaf), the derivative by the weight of the leaf's entry
  /// \param add_z     add_z(lane, i, value) for logit i    \param add_w  the same for w
  template <class ByEntry, class AddZ, class AddW>
  void ascend(S num_samples, const SpreadPenalty<S>& spread, ByEntry by_entry, AddZ add_z,
              AddW add_w) {
    const S entropy = shape_.entropy / num_samples;
    const S reachability = shape_.reachability / num_samples;
    keep();
    by_mixture_.assign(kept_.size(), S(0));
    by_kept_.assign(kept_.size(), S(0));
    if (shape_.loses_codes() && reachability > S(0))
      for (std::size_t i = 0; i < kept_.size(); ++i) {
        const S q = S(epsilon) + kept_[i];
        by_kept_[i] = -reachability / (q * q);
      }
    const auto leaves = walk_.leaves();
    for (const Leaf& leaf : leaves) {
      const S by_weight = leaf.entry < 0 ? S(0) : by_entry(leaf);
      by_mixture_[place(leaf.lane, leaf.tree)] += by_weight * leaf.reach;
    }
    by_logit_.assign(std::size_t(shape_.k), S(0));
    for (int lane = 0; lane < walk_.count(); ++lane) {
      std::fill(by_logit_.begin(), by_logit_.end(), S(0));
      add_softmax_backward(&mixture_[place(lane, 0)], &by_mixture_[place(lane, 0)], shape_.k,
                           by_logit_.data());
      for (Index j = 0; j < shape_.k; ++j) add_w(lane, j, by_logit_[std::size_t(j)]);
    }

    difference_.resize(walk_.splits().size());
    walk_.ascend(
        shape_.k, [this](Index node, Index level) { return cuts(node, level); },
        [&](std::size_t i) {
          const Leaf& leaf = leaves[i];
          const S by_weight = leaf.entry < 0 ? S(0) : by_entry(leaf);
          S by_reach = leaf.factor * by_weight + by_kept_[place(leaf.lane, leaf.tree)] +
                       spread.derivative(leaf.slot);
          if (entropy > S(0)) by_reach += entropy * entropy_term_derivative(leaf.reach);
          return by_reach;
        },
        [&](Index /*node*/, std::size_t i, S zero, S one) { difference_[i] = one - zero; });
    add_bits(add_z);
  }

  // As a source of the walk.
  [[nodiscard]] Index trees() const { return shape_.k; }
  [[nodiscard]] bool cuts(Index node, Index level) const {
    return portable::is_beyond(node, level, shape_.bits, shape_.num_experts);
  }
  [[nodiscard]] static bool has_entry(S reach, S mixture, Rows rows) {
    return rows == Rows::experts || mixture * reach != S(0);
  }
  void split(Index /*node*/, Index level, Index tree, typename Walk::List& list,
             S* /*logits*/) const {
    const S* const share = &share_[std::size_t((tree * shape_.bits + level) * lanes)];
    for (std::int32_t i = 0; i < list.count; ++i) {
      list.right[i] = share[list.lane[i]];
      list.left[i] = S(1) - list.right[i];
    }
  }
  void leaf(Index /*slot*/, Index tree, const typename Walk::List& list, S* factors) const {
    for (std::int32_t i = 0; i < list.count; ++i) factors[i] = mixture_[place(list.lane[i], tree)];
  }

  /// Adds what a leaf gives to the weight of its entry.
  static void add_weight(S& weight, const Leaf& leaf) {
    const S before = leaf.starts_entry ? S(0) : weight;
    weight = before + leaf.factor * leaf.reach;
  }

 private:
  static constexpr double epsilon = 1e-6;  // keeps the reachability penalty finite

  [[nodiscard]] std::size_t place(Index lane, Index j) const {
    return std::size_t(lane * shape_.k + j);
  }

  /// What each selector gives to codes below n.
  void keep() {
    kept_.assign(std::size_t(walk_.count() * shape_.k), S(0));
    for (const Leaf& leaf : walk_.leaves()) kept_[place(leaf.lane, leaf.tree)] += leaf.reach;
  }

  /// A bit's derivative is the sum over the splits of its level, from left to right.
  template <class AddZ>
  void add_bits(AddZ add_z) {
    const Index planes = shape_.k * shape_.bits;
    by_share_.assign(std::size_t(walk_.count() * planes), S(0));
    for (const auto& visit : walk_.visits()) {
      if (visit.is_leaf) continue;
      for (auto i = visit.begin; i < visit.end; ++i) {
        const auto& split = walk_.splits()[i];
        by_share_[std::size_t(split.lane * planes + split.tree * shape_.bits + visit.level)] +=
            split.reach * difference_[i];
      }
    }
    for (int lane = 0; lane < walk_.count(); ++lane)
      for (Index i = 0; i < planes; ++i)
        add_z(lane, i,
              by_share_[std::size_t(lane * planes + i)] *
                  smooth_step_derivative(z_[lane * planes + i], shape_.gamma));
  }

  Walk walk_;
  DSelectKShape<S> shape_;
  const S* z_ = nullptr;
  std::vector<S> share_;    // plane x lane: of the bit's value 1
  std::vector<S> mixture_;  // lane x selector: softmax(w)
  std::vector<S> kept_;     // lane x selector
  std::vector<S> by_kept_;
  std::vector<S> by_mixture_;
  std::vector<S> by_logit_;    // selector
  std::vector<S> difference_;  // split record: of the derivatives by its children's reach
  std::vector<S> by_share_;    // lane x plane
};

}  // namespace comet::detail
