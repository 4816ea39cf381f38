// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet::detail {

/// Bits of the expert numbers 0..n-1, at least one.
inline Index num_code_bits(Index num_experts) {
  return std::max(Index(1), Index(std::bit_width(std::size_t(num_experts - 1))));
}

/// \brief The k selectors of DSelect-k at work on one sample.
///
/// Codes are found by a walk down the tree of their prefixes, most significant bit first, one level
/// at a time. A prefix that no selector gives weight to is dropped together with all codes below
/// it, and so is one whose codes are all >= n. That is exact: where a bit's share is 0 or 1 its
/// derivative is 0. Each level ascends, so the last one lists the codes in ascending order.
///
/// \par Cost  O(k) per live prefix
template <class S>
class Selectors {
 public:
  struct Shape {
    Index num_experts;
    Index k;
    Index bits;
    S gamma;
  };

  /// \param z  k * bits logits, selector by selector    \param w  k logits
  /// \return false if a logit is not finite
  bool descend(const Shape& shape, const S* z, const S* w) {
    shape_ = shape;
    const Index k = shape.k;
    share_.resize(std::size_t(k * shape.bits));
    S check = 0;
    for (Index i = 0; i < k * shape.bits; ++i) {
      share_[std::size_t(i)] = smooth_step(z[i], shape.gamma);
      check += z[i] * S(0);
    }
    mixture_.resize(std::size_t(k));
    for (Index j = 0; j < k; ++j) check += w[j] * S(0);
    if (check != S(0)) [[unlikely]]
      return false;
    softmax(w, k, mixture_.data());

    prefixes_.assign(1, 0);
    reach_.assign(std::size_t(k), S(1));
    levels_.assign(1, 0);
    for (Index bit = 0; bit < shape.bits; ++bit) {
      const std::size_t first = levels_.back();
      const std::size_t last = prefixes_.size();
      levels_.push_back(last);
      for (std::size_t node = first; node < last; ++node) {
        hand_down(node, bit, 0);
        hand_down(node, bit, 1);
      }
    }
    return true;
  }

  /// Codes below n with weight in some selector, ascending.
  [[nodiscard]] std::span<const ExpertId> codes() const {
    return std::span(prefixes_).subspan(levels_.back());
  }

  /// Weight of the i-th code: the selectors' reach of it, mixed.
  [[nodiscard]] S weight(std::size_t i) const {
    const S* reach = reach_at(levels_.back() + i);
    S sum = 0;
    for (std::size_t j = 0; j < mixture_.size(); ++j) sum += mixture_[j] * reach[j];
    return sum;
  }

  /// What selector j adds to the weight of the i-th code.
  [[nodiscard]] S weight(std::size_t i, Index j) const {
    return mixture_[std::size_t(j)] * reach_at(levels_.back() + i)[j];
  }

  /// entropy * sum_ij -r log(r + 1e-6) + reachability * sum_j 1 / (1e-6 + sum_i r)
  [[nodiscard]] S penalty(S entropy, S reachability) const {
    S sum = 0;
    if (entropy > S(0))
      for (std::size_t node = levels_.back(); node < prefixes_.size(); ++node)
        for (Index j = 0; j < shape_.k; ++j) sum += entropy * entropy_term(reach_at(node)[j]);
    if (loses_codes() && reachability > S(0))
      for (Index j = 0; j < shape_.k; ++j) sum += reachability / (S(epsilon) + kept(j));
    return sum;
  }

  /// Derivatives of sum(by_weight . weight) + penalty(entropy, reachability).
  /// \param z          as in descend()
  /// \param by_weight  by_weight(i, j), the derivative by weight(i, j); where that is 0, any number
  /// \param add_z      add_z(i, value) for logit z[i]    \param add_w  the same for w
  template <class ByWeight, class AddZ, class AddW>
  void ascend(const S* z, ByWeight by_weight, S entropy, S reachability, AddZ add_z, AddW add_w) {
    const Index k = shape_.k;
    const std::size_t first_code = levels_.back();
    by_reach_.resize(reach_.size());
    by_mixture_.assign(std::size_t(k), S(0));
    by_logit_.assign(std::size_t(k), S(0));
    for (Index j = 0; j < k; ++j) {
      S by_kept = 0;
      if (loses_codes() && reachability > S(0)) {
        const S q = S(epsilon) + kept(j);
        by_kept = -reachability / (q * q);
      }
      for (std::size_t i = 0; i < codes().size(); ++i) {
        const S reach = reach_at(first_code + i)[j];
        by_mixture_[std::size_t(j)] += by_weight(i, j) * reach;
        S by_reach = mixture_[std::size_t(j)] * by_weight(i, j) + by_kept;
        if (entropy > S(0)) by_reach += entropy * entropy_term_derivative(reach);
        by_reach_[(first_code + i) * std::size_t(k) + std::size_t(j)] = by_reach;
      }
    }
    add_softmax_backward(mixture_.data(), by_mixture_.data(), k, by_logit_.data());
    for (Index j = 0; j < k; ++j) add_w(j, by_logit_[std::size_t(j)]);

    by_share_.assign(share_.size(), S(0));
    for (Index bit = shape_.bits; bit-- > 0;) gather(bit);
    for (std::size_t i = 0; i < share_.size(); ++i)
      add_z(Index(i), by_share_[i] * smooth_step_derivative(z[i], shape_.gamma));
  }

 private:
  static constexpr double epsilon = 1e-6;  // keeps the reachability penalty finite

  [[nodiscard]] const S* reach_at(std::size_t node) const {
    return reach_.data() + node * std::size_t(shape_.k);
  }

  [[nodiscard]] bool loses_codes() const { return (Index(1) << shape_.bits) != shape_.num_experts; }

  /// What selector j gives to codes below n.
  [[nodiscard]] S kept(Index j) const {
    S sum = 0;
    for (std::size_t node = levels_.back(); node < prefixes_.size(); ++node)
      sum += reach_at(node)[j];
    return sum;
  }

  /// Appends the child of a node for one value of a bit, if any selector reaches it.
  void hand_down(std::size_t node, Index bit, Index value) {
    const Index prefix = 2 * Index(prefixes_[node]) + value;
    if (prefix << (shape_.bits - 1 - bit) >= shape_.num_experts) return;
    const auto k = std::size_t(shape_.k);
    const std::size_t child = reach_.size();
    reach_.resize(child + k);
    bool live = false;
    for (std::size_t j = 0; j < k; ++j) {
      const S share = share_[j * std::size_t(shape_.bits) + std::size_t(bit)];
      reach_[child + j] = reach_[node * k + j] * (value == 1 ? share : S(1) - share);
      live |= reach_[child + j] > S(0);
    }
    if (live) {
      prefixes_.push_back(ExpertId(prefix));
    } else {
      reach_.resize(child);
    }
  }

  /// Derivatives by the shares of one bit and by the reach of the nodes that it splits.
  void gather(Index bit) {
    const auto k = std::size_t(shape_.k);
    const auto level = std::size_t(bit);
    std::size_t child = levels_[level + 1];
    const std::size_t end = level + 2 < levels_.size() ? levels_[level + 2] : prefixes_.size();
    for (std::size_t node = levels_[level]; node < levels_[level + 1]; ++node) {
      const auto take = [&](ExpertId prefix) -> const S* {
        if (child == end || prefixes_[child] != prefix) return nullptr;
        return by_reach_.data() + k * child++;
      };
      const S* zero = take(2 * prefixes_[node]);
      const S* one = take(2 * prefixes_[node] + 1);
      for (std::size_t j = 0; j < k; ++j) {
        const std::size_t i = j * std::size_t(shape_.bits) + level;
        const S by_zero = zero != nullptr ? zero[j] : S(0);
        const S by_one = one != nullptr ? one[j] : S(0);
        by_reach_[node * k + j] = (S(1) - share_[i]) * by_zero + share_[i] * by_one;
        by_share_[i] += reach_[node * k + j] * (by_one - by_zero);
      }
    }
  }

  Shape shape_{};
  std::vector<S> share_;             // selector x bit: weight of bit value 1
  std::vector<S> mixture_;           // softmax(w)
  std::vector<ExpertId> prefixes_;   // live nodes, level by level
  std::vector<std::size_t> levels_;  // first node of each level
  std::vector<S> reach_;             // node x selector
  std::vector<S> by_reach_;          // node x selector
  std::vector<S> by_share_;          // selector x bit
  std::vector<S> by_mixture_;        // selector
  std::vector<S> by_logit_;          // selector
};

}  // namespace comet::detail
