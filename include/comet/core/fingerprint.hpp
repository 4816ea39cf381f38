// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include <comet/core/nh_hash.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief A number that changes, but for one case in 2^32, when a feature does or moves, of a
/// sample that is none of padding: tells a batch from another one.
template <class S>
std::uint64_t fingerprint(const Samples<S>& samples) {
  const std::size_t size = std::size_t(samples.dim()) * sizeof(S);
  std::uint64_t sum = 0;
  for (Index b = 0; b < samples.size(); ++b)
    if (samples.is_live(b))
      sum += nh_hash(samples.features.col(b).data(), size) * std::uint64_t(2 * b + 1);
  return sum;
}

}  // namespace comet::detail
