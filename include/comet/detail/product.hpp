// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/types.hpp>

namespace comet::detail {

/// Eigen packs both operands of a product, up to this many bytes on the stack and beyond it on the
/// heap (EIGEN_STACK_ALLOCATION_LIMIT).
inline constexpr Index stack_bytes = 128 * 1024;

/// Rows or columns of an operand that is packed on the stack. Eigen blocks the depth so that a
/// piece of a row fits the first-level cache many times over: 2 KiB is more than it takes.
template <class S>
Index stack_extent(Index depth) {
  constexpr Index most_bytes = 2048;
  const Index bytes = std::clamp(depth * Index(sizeof(S)), Index(1), most_bytes);
  return std::max(Index(8), stack_bytes / bytes / 8 * 8);
}

/// out = lhs * rhs, or out += lhs * rhs, in pieces that allocate nothing. The pieces depend on the
/// sizes alone.
template <bool accumulate, class Out, class Lhs, class Rhs>
void product(Out&& out, const Lhs& lhs, const Rhs& rhs) {
  const Index extent = stack_extent<typename Lhs::Scalar>(lhs.cols());
  const auto piece = [extent](Index size) {
    const Index pieces = (size + extent - 1) / extent;
    return pieces <= 1 ? size : ((size + pieces - 1) / pieces + 7) / 8 * 8;
  };
  const Index rows = piece(out.rows());
  const Index cols = piece(out.cols());
  for (Index c = 0; c < out.cols(); c += cols) {
    const Index width = std::min(cols, out.cols() - c);
    for (Index r = 0; r < out.rows(); r += rows) {
      const Index height = std::min(rows, out.rows() - r);
      auto target = out.block(r, c, height, width);
      if constexpr (accumulate) {
        target.noalias() += lhs.middleRows(r, height) * rhs.middleCols(c, width);
      } else {
        target.noalias() = lhs.middleRows(r, height) * rhs.middleCols(c, width);
      }
    }
  }
}

}  // namespace comet::detail
