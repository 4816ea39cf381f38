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

/// \brief The samples that are live at the open node of a level of a tree, up to `lanes` of them. A
/// path is k lists, one for each tree, for every level, one level after the other.
template <int lanes, class S>
struct LiveList {
  std::int32_t count;
  std::int32_t lane[std::size_t(lanes)];  ///< of the samples, ascending
  S reach[std::size_t(lanes)];            ///< the share of the sample that arrives, > 0
  S left[std::size_t(lanes)];             ///< the share that a split gives to its left child ...
  S right[std::size_t(lanes)];            ///< ... and to its right one

  /// The count. For one lane it is written such that the compiler makes a loop over it an `if`.
  std::int32_t size() const { return lanes == 1 ? std::int32_t(count != 0) : count; }
};

/// Puts `count` samples at the roots.
template <int lanes, class S>
void start_walk(LiveList<lanes, S>* root, Index trees, int count) {
  for (Index j = 0; j < trees; ++j) {
    root[j].count = count;
    for (int i = 0; i < count; ++i) {
      root[j].lane[i] = i;
      root[j].reach[i] = S(1);
    }
  }
}

/// Hands a child its share of the samples; false if nothing reaches it in any tree.
/// \tparam share  LiveList::left or right
template <auto share, class List>
bool hand_down(const List* at, List* below, Index trees) {
  std::int32_t any = 0;
  for (Index j = 0; j < trees; ++j) {
    std::int32_t count = 0;
    const std::int32_t end = at[j].size();
    for (std::int32_t i = 0; i < end; ++i) {
      below[j].lane[count] = at[j].lane[i];
      below[j].reach[count] = at[j].reach[i] * (at[j].*share)[i];
      count += below[j].reach[count] > 0;
    }
    below[j].count = count;
    any |= count;
  }
  return any != 0;
}

/// \brief The walk of up to `lanes` samples down the trees of a soft-tree gate, all trees side by
/// side, left subtrees first: leaves come out in ascending order. What nothing reaches is left out.
///
/// \param tree  has trees(); shape(); split(node, level, at), which sets the shares of who is live
///              there; leaf(node, level, at); cuts(node, level): whether a subtree is left out
///              anyway
template <int lanes, class S, class Tree>
void walk(Tree& tree, LiveList<lanes, S>* at, Index node = 0, Index level = 0) {
  if (tree.shape().is_leaf(node)) {
    tree.leaf(node, level, at);
    return;
  }
  tree.split(node, level, at);
  using List = LiveList<lanes, S>;
  List* const below = at + tree.trees();
  const Index child = 2 * node + 1;
  if (!tree.cuts(child, level + 1) && hand_down<&List::left>(at, below, tree.trees()))
    walk(tree, below, child, level + 1);
  if (!tree.cuts(child + 1, level + 1) && hand_down<&List::right>(at, below, tree.trees()))
    walk(tree, below, child + 1, level + 1);
}

}  // namespace comet::portable
