// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief A number that changes, but for one case in 2^32, when a byte does or moves.
///
/// Halves of a word, each with a number of its place, are multiplied with each other and summed:
/// NH, the universal hash of UMAC (Black and others, 1999, section 4), for it is a step for a
/// register of words. Zeros at the end are not seen: whoever may have fewer compares the sizes.
inline std::uint64_t nh_hash(const void* data, std::size_t size) {
  using Words = VectorOf<std::uint64_t, 4>;
  constexpr std::size_t block = sizeof(Words);
  constexpr std::uint64_t step = 0x9e3779b97f4a7c15ULL;  // of the golden ratio
  const auto* bytes = static_cast<const char*>(data);
  Words places = {step, 2 * step, 3 * step, 4 * step}, sums = {};
  for (std::size_t at = 0; at < size; at += block) {
    Words words = {};
    if (at + block <= size) {
      std::memcpy(&words, bytes + at, block);
    } else {
      std::memcpy(&words, bytes + at, size - at);
    }
    words += places;
    sums += (words & 0xffffffffU) * (words >> 32U);
    places += 4 * step;
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace comet::detail
