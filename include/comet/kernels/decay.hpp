// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>

#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief What decays from step to step, a moment of a gradient that is 0 from now on, comes to the
/// denormal numbers and stays there, and with these some processors (Intel's) compute twenty times
/// as slowly. So it ends at 0 before.

namespace comet::detail {

/// \brief Whether a step is one that ends what has decayed: to look each time would cost a third of
/// an optimizer's step in the first-level cache, and in between nothing decays far.
[[nodiscard]] constexpr bool ends_decay(std::int64_t step) { return step % 16 == 0; }

/// \brief Where it ends: far enough from the denormal numbers for 15 more steps and for a product
/// with a learning rate.
template <class S>
inline constexpr S end_of_decay = std::numeric_limits<S>::min() * S(1 << 26);

/// \brief Numbers nearer to 0 than `least` become 0.
template <class S>
void clear_tiny(S* values, Index size, S least) {
  const auto bound = simd::pset1<Packet<S>>(least);
  map_column(size, values, [&](auto load) {
    const Packet<S> value = load(values);
    return Packet<S>(simd::pandnot(value, simd::pcmp_lt(simd::pabs(value), bound)));
  });
}

}  // namespace comet::detail
