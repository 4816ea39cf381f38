// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <comet/core/types.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>

namespace comet::detail {

/// \brief Where COMET's trees come from, for the samples of a tile: every node and every leaf of a
/// tree has a plane of its own.
template <class S>
class CometSource {
 public:
  using Tile = SoftTreeTile<S>;

  CometSource(const Hyperplanes<S>& splits, const Hyperplanes<S>& leaves, Index trees, S gamma,
              const ConstMatrixView<S>& x, const Tile& tile)
      : splits_(splits), leaves_(leaves), trees_(trees), gamma_(gamma) {
    for (int lane = 0; lane < tile.count(); ++lane) x_[lane] = x.col(tile.sample(lane)).data();
  }

  [[nodiscard]] Index trees() const { return trees_; }
  static constexpr bool cuts(Index, Index) { return false; }
  static constexpr bool has_entry(S, S, Rows) { return true; }

  void split(Index node, Index /*level*/, Index tree, typename Tile::List& list, S* logits) {
    evaluate(splits_, node * trees_ + tree, list, logits);
    for (std::int32_t i = 0; i < list.count; ++i) {
      list.left[i] = smooth_step(logits[i], gamma_);
      list.right[i] = S(1) - list.left[i];
    }
  }
  void leaf(Index slot, Index /*tree*/, const typename Tile::List& list, S* logits) {
    evaluate(leaves_, slot, list, logits);
  }

 private:
  void evaluate(const Hyperplanes<S>& planes, Index plane, const typename Tile::List& list,
                S* logits) {
    for (std::int32_t i = 0; i < list.count; ++i) live_x_[i] = x_[list.lane[i]];
    planes.logits(plane, live_x_, list.count, logits);
  }

  const Hyperplanes<S>& splits_;
  const Hyperplanes<S>& leaves_;
  Index trees_;
  S gamma_;
  const S* x_[Tile::lanes];
  const S* live_x_[Tile::lanes] = {};
};

}  // namespace comet::detail
