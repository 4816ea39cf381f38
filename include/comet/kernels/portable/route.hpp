// SPDX-License-Identifier: MIT
#pragma once

#include <limits>

#include <comet/kernels/portable/soft_tree.hpp>

/// \file
/// \brief How each gate routes a single sample, given its tables.

namespace comet::portable {

/// A leaf that the only sample reaches.
template <class S>
struct ReachedLeaf {
  Index slot;  ///< i k + j for leaf i of tree j
  S reach;
  S factor;  ///< the logit, then exp(logit) / sum: the weight is reach * factor
  static constexpr int lane = 0;
};

/// \brief The first half of a softmax over the leaves that were reached: factors become exp(logit -
/// largest), and sum[lane] gets reach * factor of the sample's leaves.
/// \param largest, sum  one per sample: -infinity and 0
template <class S, class Leaf>
void exponentiate(Leaf* leaves, Index count, S* largest, S* sum) {
  for (Index i = 0; i < count; ++i)
    largest[leaves[i].lane] = std::max(largest[leaves[i].lane], leaves[i].factor);
  for (Index i = 0; i < count; ++i) {
    Leaf& leaf = leaves[i];
    leaf.factor = std::exp(leaf.factor - largest[leaf.lane]);
    sum[leaf.lane] += leaf.reach * leaf.factor;
  }
}

/// Whether a softmax can be divided by the sum: a denormal one, of a leaf that is hardly reached,
/// would make infinite weights.
template <class S>
bool is_divisor(S sum) {
  return sum >= std::numeric_limits<S>::min() && std::isfinite(sum);
}

/// \brief A single sample on its way down the trees of COMET.
template <class S, class Tables>
struct CometSample {
  const Tables& tables;
  const S* x;
  ReachedLeaf<S>* leaves;
  Index num_reached = 0;
  S sum = 0;  // nan if a split's logit is

  Index trees() const { return tables.k; }
  const TreeShape& shape() const { return tables.shape; }
  static constexpr bool cuts(Index, Index) { return false; }
  void split(Index node, Index, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      if (at[j].count == 0) continue;
      const S share = smooth_step(tables.split_logit(node * trees() + j, x), tables.gamma);
      at[j].left[0] = share;
      at[j].right[0] = S(1) - share;
      if (std::isnan(share)) sum = share;
    }
  }
  void leaf(Index node, Index, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      if (at[j].count == 0) continue;
      const Index slot = shape().leaf(node) * trees() + j;
      leaves[num_reached++] = {slot, at[j].reach[0], tables.leaf_logit(slot, x)};
    }
  }
};

/// \brief Routes one sample by COMET.
/// \param tables  k, gamma, shape, split_logit(plane, x), leaf_logit(plane, x)
/// \param root    num_levels x k places
/// \param leaves  room for n k
/// \param add     add(slot, weight) for each leaf that is reached, ascending
/// \return false if a logit overflows
template <class S, class Tables, class Add>
bool route_comet(const Tables& tables, const S* x, LiveList<1, S>* root, ReachedLeaf<S>* leaves,
                 Add add) {
  CometSample<S, Tables> sample{tables, x, leaves};
  start_walk(root, sample.trees(), 1);
  walk(sample, root);
  S largest = -std::numeric_limits<S>::infinity();
  exponentiate(leaves, sample.num_reached, &largest, &sample.sum);
  if (!is_divisor(sample.sum)) return false;
  for (Index i = 0; i < sample.num_reached; ++i) {
    leaves[i].factor /= sample.sum;
    add(leaves[i].slot, leaves[i].reach * leaves[i].factor);
  }
  return true;
}

/// \brief Whether all codes below a node of DSelect-k's tree of prefixes are >= n.
inline constexpr bool is_beyond(Index node, Index level, Index num_bits, Index num_experts) {
  return ((node + 1) << (num_bits - level)) - (Index(1) << num_bits) >= num_experts;
}

/// \brief A single sample on its way down DSelect-k's tree of prefixes, whose levels share planes.
template <class S, class Tables, class Add>
struct DSelectKSample {
  const Tables& tables;
  const S* share;    // selector x bit: of the bit's value 1
  const S* mixture;  // selector
  Add& add;

  Index trees() const { return tables.k; }
  const TreeShape& shape() const { return tables.shape; }
  bool cuts(Index node, Index level) const { return is_beyond(node, level, tables.m, tables.n); }
  void split(Index, Index level, LiveList<1, S>* at) {
    for (Index j = 0; j < trees(); ++j) {
      at[j].right[0] = share[j * tables.m + level];
      at[j].left[0] = S(1) - at[j].right[0];
    }
  }
  void leaf(Index node, Index, LiveList<1, S>* at) {
    const Index code = node + 1 - (Index(1) << tables.m);
    if (tables.has_slots) {
      for (Index j = 0; j < trees(); ++j) {
        if (at[j].count == 0) continue;
        const S weight = mixture[j] * at[j].reach[0];
        if (weight != S(0)) add(code * trees() + j, weight);
      }
      return;
    }
    S sum = 0;
    for (Index j = 0; j < trees(); ++j)
      if (at[j].count != 0) sum += mixture[j] * at[j].reach[0];
    add(code, sum);
  }
};

/// \brief Routes one sample by DSelect-k.
/// \param tables   n, k, m bits of a code, gamma, shape, bit_logit(plane, x),
///                 mixture_logit(plane, x), has_slots: whether weights come by selector
/// \param root     (m + 1) x k places
/// \param share    k m, scratch
/// \param mixture  k, scratch
/// \param add      add(code, weight) or, with slots, add(code k + selector, weight), ascending
/// \return false if a logit is not finite
template <class S, class Tables, class Add>
bool route_dselect_k(const Tables& tables, const S* x, LiveList<1, S>* root, S* share, S* mixture,
                     Add add) {
  const Index k = tables.k;
  bool finite = true;
  for (Index i = 0; i < k * tables.m; ++i) {
    const S logit = tables.bit_logit(i, x);
    finite = finite && std::isfinite(logit);
    share[i] = smooth_step(logit, tables.gamma);
  }
  for (Index j = 0; j < k; ++j) {
    mixture[j] = tables.mixture_logit(j, x);
    finite = finite && std::isfinite(mixture[j]);
  }
  if (!finite) return false;
  softmax(mixture, k, mixture);
  DSelectKSample<S, Tables, Add> sample{tables, share, mixture, add};
  start_walk(root, k, 1);
  walk(sample, root);
  return true;
}

/// \brief The k largest of n logits of one sample, and a softmax over them (over_all: over all n).
///
/// Ties go to the smaller number. With over_all the sum over the others runs in the order in which
/// the standard library's selection leaves them.
/// \param order    n, scratch: its first k become the selected ones, ascending
/// \param weights  k, in the order of the selected ones
template <class S>
void select_top_k(const S* h, Index n, Index k, bool over_all, std::int32_t* order, S* weights) {
  for (Index i = 0; i < n; ++i) order[i] = std::int32_t(i);
  const auto larger = [h](std::int32_t i, std::int32_t j) {
    return h[i] > h[j] || (h[i] == h[j] && i < j);
  };
  std::nth_element(order, order + (k - 1), order + n, larger);
  const S largest = h[*std::min_element(order, order + k, larger)];
  std::sort(order, order + k);
  S sum = 0;
  for (Index i = 0; i < k; ++i) sum += weights[i] = std::exp(h[order[i]] - largest);
  if (over_all)
    for (Index i = k; i < n; ++i) sum += std::exp(h[order[i]] - largest);
  for (Index i = 0; i < k; ++i) weights[i] /= sum;
}

/// \brief Routes one sample by Top-k.
/// \param tables          n, k, over_all, expert_logit(plane, x)
/// \param h, order        n, scratch  \param weights  k, scratch
/// \param add             add(logit's number, weight), ascending
/// \return false if a logit is not finite
template <class S, class Tables, class Add>
bool route_top_k(const Tables& tables, const S* x, S* h, std::int32_t* order, S* weights, Add add) {
  const Index k = tables.k;
  for (Index i = 0; i < tables.n; ++i) {
    h[i] = tables.expert_logit(i, x);
    if (!std::isfinite(h[i])) return false;
  }
  select_top_k(h, tables.n, k, tables.over_all, order, weights);
  for (Index i = 0; i < k; ++i) add(Index(order[i]), weights[i]);
  return true;
}

}  // namespace comet::portable
