// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/index_range.hpp>
#include <comet/core/types.hpp>

namespace programs {

/// \brief Where samples stand in a batch of which they are a piece, and what a mean over them is
/// worth in that over all. A whole batch is its own piece.
struct Piece {
  comet::Index first = 0;
  double share = 1;
};

/// \param rows  of this rank, of a batch of so many
[[nodiscard]] inline Piece piece_of(comet::IndexRange rows, comet::Index size) {
  return {.first = rows.first, .share = double(rows.size()) / double(size)};
}

}  // namespace programs
