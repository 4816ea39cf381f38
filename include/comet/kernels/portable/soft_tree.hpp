// SPDX-License-Identifier: MIT
#pragma once

#include <comet/kernels/portable/arithmetic.hpp>

/// \file
/// \brief The one walk down soft trees. COMET's training, inference and explanations, DSelect-k's,
/// and emitted headers all take it; they differ in where a split's shares come from and what a leaf
/// is.

namespace comet::portable {

/// \brief A binary tree in heap order: children of q are 2 q + 1 and 2 q + 2, the deepest leaves
/// are the leftmost ones.
struct TreeShape {
  Index num_leaves;
  Index num_levels = 1;
  Index deepest = 0;  ///< first node of the last level

  constexpr explicit TreeShape(Index leaves) : num_leaves(leaves) {
    for (; 2 * deepest + 1 <= 2 * leaves - 2; deepest = 2 * deepest + 1) ++num_levels;
  }
  constexpr bool is_leaf(Index node) const { return node >= num_leaves - 1; }
  /// Position of a leaf from left to right.
  constexpr Index leaf(Index node) const {
    return node >= deepest ? node - deepest : node + num_leaves - deepest;
  }
};

/// \brief One level of k trees on the path that is open: for each tree a list with room for `lanes`
/// samples. Levels follow each other in memory.
template <class S>
struct TreeLevel {
  std::int32_t* num_live;  ///< k: lengths of the lists
  std::int32_t* live;      ///< k x lanes: the samples; not used for a single one
  S* reach;                ///< the same places: the share of the sample that arrives, > 0
  S* left;                 ///< the shares that a split gives to its left child ...
  S* right;                ///< ... and to its right one

  TreeLevel below(Index trees, int lanes) const {
    const Index places = trees * lanes;
    return {num_live + trees, live + places, reach + places, left + places, right + places};
  }
};

/// Puts `count` samples at the roots.
template <int lanes, class S>
void start_walk(TreeLevel<S> root, Index trees, int count) {
  for (Index j = 0; j < trees; ++j) {
    root.num_live[j] = count;
    for (int i = 0; i < count; ++i) {
      if constexpr (lanes > 1) root.live[j * lanes + i] = i;
      root.reach[j * lanes + i] = S(1);
    }
  }
}

/// Hands a child its share of the samples; false if nothing reaches it in any tree.
template <int lanes, class S>
bool hand_down(TreeLevel<S> at, TreeLevel<S> below, const S* share, Index trees) {
  bool any = false;
  for (Index j = 0; j < trees; ++j) {
    const Index list = j * lanes;
    std::int32_t count = 0;
    for (std::int32_t i = 0; i < at.num_live[j]; ++i) {
      if constexpr (lanes > 1) below.live[list + count] = at.live[list + i];
      const S reach = at.reach[list + i] * share[list + i];
      below.reach[list + count] = reach;
      count += reach > S(0);
    }
    below.num_live[j] = count;
    any = any || count > 0;
  }
  return any;
}

/// \brief The walk of up to `lanes` samples down the trees of a soft-tree gate, all trees side by
/// side, left subtrees first: leaves come out in ascending order. What nothing reaches is left out.
///
/// \param tree  has trees(); split(node, level, at), which sets the shares of who is live there;
///              leaf(node, level, at); cuts(node, level): whether a subtree is left out anyway
template <int lanes, class S, class Tree>
void walk(Tree& tree, const TreeShape& shape, TreeLevel<S> at, Index node = 0, Index level = 0) {
  if (shape.is_leaf(node)) {
    tree.leaf(node, level, at);
    return;
  }
  tree.split(node, level, at);
  const TreeLevel<S> below = at.below(tree.trees(), lanes);
  const Index child = 2 * node + 1;
  if (!tree.cuts(child, level + 1) && hand_down<lanes>(at, below, at.left, tree.trees()))
    walk<lanes>(tree, shape, below, child, level + 1);
  if (!tree.cuts(child + 1, level + 1) && hand_down<lanes>(at, below, at.right, tree.trees()))
    walk<lanes>(tree, shape, below, child + 1, level + 1);
}

}  // namespace comet::portable
