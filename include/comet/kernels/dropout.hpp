// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// Dropout of one block of columns, keyed by sample and unit so that it does not depend on how
/// samples are grouped into blocks.
struct Dropout {
  static constexpr std::uint32_t resolution = 1U << 16U;

  explicit Dropout(double rate)
      : dropped(std::min(static_cast<std::uint32_t>(rate * resolution + 0.5), resolution - 1)) {}

  [[nodiscard]] bool active() const { return dropped > 0; }
  /// What kept values are multiplied by, exact for the rate that 16 bits can express.
  template <class S>
  [[nodiscard]] S scale() const {
    return static_cast<S>(double(resolution) / double(resolution - dropped));
  }

  /// Scales kept values and zeroes dropped ones of a column.
  template <class S>
  void apply(RandomKey sample_key, S* values, Index size) const {
    Index i = 0;
    if constexpr (std::endian::native == std::endian::little)
      for (; i + block <= size; i += block) apply_to_block(sample_key, i, values + i);
    const S factors[2] = {scale<S>(), S(0)};
    for (; i < size; i += 4) {
      std::uint64_t bits = sample_key.bits(std::uint64_t(i) / 4);
      for (Index j = i; j < std::min(i + 4, size); ++j, bits >>= 16U)
        values[j] *= factors[(bits & 0xffffU) < dropped];
    }
  }

  std::uint32_t dropped;  ///< of 2^16

 private:
  static constexpr Index block = 16;

  /// The same of values first .. first + block - 1, whose random numbers are in memory as the
  /// values are: sixteen bits each, the lowest first.
  template <class S>
  void apply_to_block(RandomKey sample_key, Index first, S* values) const {
    using Mask = std::conditional_t<sizeof(S) == 4, std::int32_t, std::int64_t>;
    constexpr Index half = block / 2;
    const auto counter = std::uint64_t(first) / 4;
    auto bits = counter + VectorOf<std::uint64_t, block / 4>{0, 1, 2, 3};
    sample_key.to_bits(bits);
    VectorOf<std::uint16_t, half> numbers[2];
    std::memcpy(numbers, &bits, sizeof numbers);
    VectorOf<S, half> kept = {};
    kept += scale<S>();
    VectorOf<Mask, half> kept_bits;
    std::memcpy(&kept_bits, &kept, sizeof kept);
    for (const auto& each : numbers) {
      const auto is_kept = __builtin_convertvector(each, VectorOf<Mask, half>) >= Mask(dropped);
      const VectorOf<Mask, half> factor_bits = is_kept & kept_bits;
      VectorOf<S, half> factors, some;
      std::memcpy(&factors, &factor_bits, sizeof factors);
      std::memcpy(&some, values, sizeof some);
      some *= factors;
      std::memcpy(values, &some, sizeof some);
      values += half;
    }
  }
};

}  // namespace comet::detail
