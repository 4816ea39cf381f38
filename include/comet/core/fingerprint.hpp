// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// A number that changes when a feature does, of a sample that is none of padding: tells a batch
/// from another one.
template <class S>
std::uint64_t fingerprint(const Samples<S>& samples) {
  constexpr std::size_t word_size = sizeof(std::uint64_t);
  const std::size_t size = std::size_t(samples.dim()) * sizeof(S);
  std::uint64_t sum = 0;
  for (Index b = 0; b < samples.size(); ++b) {
    if (!samples.is_live(b)) continue;
    const auto* bytes = reinterpret_cast<const char*>(samples.features.col(b).data());
    const auto word = [&](std::size_t at, std::size_t count) {
      std::uint64_t value = 0;
      std::memcpy(&value, bytes + at, count);
      return value;
    };
    std::uint64_t even = 0, odd = 0;
    std::size_t at = 0;
    for (; at + 4 * word_size <= size; at += 4 * word_size) {
      even += word(at, word_size) + word(at + 2 * word_size, word_size);
      odd += word(at + word_size, word_size) + word(at + 3 * word_size, word_size);
    }
    for (; at < size; at += word_size) even += word(at, std::min(word_size, size - at));
    sum += (even + odd) * std::uint64_t(2 * b + 1);
  }
  return sum;
}

}  // namespace comet::detail
