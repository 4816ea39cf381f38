// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>

namespace comet::detail {

/// Samples per task of a gate: enough to share the load of a hyperplane, few enough to stay in
/// cache.
inline constexpr Index samples_per_tile = 32;

inline Index num_tiles(Index num_samples) {
  return (num_samples + samples_per_tile - 1) / samples_per_tile;
}

}  // namespace comet::detail
