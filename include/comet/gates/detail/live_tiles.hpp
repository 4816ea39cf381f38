// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/tiles.hpp>

/// \file
/// \brief The samples that are no padding, as gates with linear logits go through them.

namespace comet::detail {

/// Sizes a routing: rows of so many entries, empty ones for padding. \param sizes  scratch
template <class S>
void size_rows(const LiveSamples& live, Index num_samples, Index length,
               std::vector<std::int32_t>& sizes, Routing<S>& routing) {
  sizes.assign(std::size_t(num_samples), std::int32_t(live.masked() ? 0 : length));
  if (live.masked())
    for (Index i = 0; i < live.size(); ++i) sizes[std::size_t(live[i])] = std::int32_t(length);
  routing.resize(sizes);
}

/// Calls body(columns, first, count) for every tile: pointers to the features of `count` live
/// samples from the first-th on.
template <class S, class Body>
void for_live_tiles(ThreadPool* pool, const Samples<S>& samples, const LiveSamples& live,
                    Body body) {
  parallel_for(pool, num_tiles(live.size()), [&](Index t, Index) {
    const Index first = t * samples_per_tile;
    const Index count = std::min(samples_per_tile, live.size() - first);
    const S* columns[std::size_t(samples_per_tile)];
    for (Index lane = 0; lane < count; ++lane)
      columns[lane] = samples.features.col(live[first + lane]).data();
    body(columns, first, count);
  });
}

}  // namespace comet::detail
