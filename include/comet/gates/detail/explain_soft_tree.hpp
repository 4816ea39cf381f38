// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/explain_logit.hpp>
#include <comet/gates/detail/slot_labels.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet::detail {

/// One of a bank of hyperplanes.
template <class S>
struct PlaneOf {
  const Hyperplanes<S>& planes;
  Index number;
};

/// \brief The walk of one sample as an explanation.
/// \param tile      after descend() of one sample for training: slots if there is a permutation per
///                  tree, otherwise experts; leaves have their factors
/// \param add       as in SoftTreeTile::fill()
/// \param plane_of  plane_of(node, level, tree): the plane of a split
template <class S, class Add, class Plane>
Explanation<S> explain_soft_tree(const SoftTreeTile<S>& tile, const S* x, S gamma, Index trees,
                                 std::span<const Permutation> permutations,
                                 const ExplainNames& names, Add add, Plane plane_of) {
  Explanation<S> result;
  result.names = names;
  result.distance = std::numeric_limits<S>::infinity();
  std::int32_t size = 0;
  tile.sizes(std::span(&size, 1));
  Routing<S> row;
  row.resize(std::span(&size, 1));
  tile.fill(row, add);
  const bool slots = permutations.size() > 1;
  result.experts = relabelled(row, [&](ExpertId label) {
    return slots ? permuted_expert(permutations, label / trees, label % trees)
                 : permuted_expert(permutations, label);
  });

  const auto add_split = [&](const auto& visit, const auto& split) {
    const auto [planes, number] = plane_of(visit.node, visit.level, split.tree);
    const auto w = planes.weight().col(number);
    const S logit = planes.logit(number, x);  // the same bits as in the walk
    const S margin = std::abs(std::abs(logit) - gamma / S(2));
    result.nodes.push_back({.tree = split.tree,
                            .number = visit.node,
                            .depth = visit.level,
                            .reach = split.reach,
                            .is_leaf = false,
                            .logit = taken_apart(logit, w, planes.bias()(number, 0), x),
                            .left = split.left,
                            .right = split.right,
                            .margin = margin,
                            .distance = distance_of(margin, w)});
    result.distance = std::min(result.distance, result.nodes.back().distance);
  };
  const auto add_leaf = [&](const auto& visit, const auto& leaf) {
    result.nodes.push_back({.tree = leaf.tree,
                            .number = visit.node,
                            .depth = visit.level,
                            .reach = leaf.reach,
                            .is_leaf = true,
                            .expert = permuted_expert(permutations, leaf.slot / trees, leaf.tree),
                            .weight = leaf.reach * leaf.factor});
  };
  // The walk takes all trees side by side; an explanation lists one after the other.
  for (Index tree = 0; tree < trees; ++tree)
    for (const auto& visit : tile.visits())
      for (std::size_t i = visit.begin; i < visit.end; ++i) {
        if (visit.is_leaf) {
          if (tile.leaves()[i].tree == tree) add_leaf(visit, tile.leaves()[i]);
        } else {
          if (tile.splits()[i].tree == tree) add_split(visit, tile.splits()[i]);
        }
      }
  return result;
}

}  // namespace comet::detail
