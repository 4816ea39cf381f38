// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <comet/core/types.hpp>
#include <comet/kernels/integer_operand.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief Processors that multiply and add bytes (AVX-512 VNNI) sum weights of eight bits without
/// widening them. Sums are integers, the same ones as by any other instructions, so the processor
/// may be asked when the program runs, whatever it was compiled for.

#if defined(__x86_64__) && defined(__GNUC__)
#define COMET_BYTE_PRODUCTS __attribute__((target("avx512vnni,avx512vl,avx512bw")))
#include <immintrin.h>
#endif

namespace comet::detail {

/// Whether the processor has the instructions of ByteOperand.
[[nodiscard]] inline bool multiplies_bytes() {
#ifdef COMET_BYTE_PRODUCTS
  static const bool result = __builtin_cpu_supports("avx512vnni") > 0 &&
                             __builtin_cpu_supports("avx512vl") > 0 &&
                             __builtin_cpu_supports("avx512bw") > 0;
  return result;
#else
  return false;
#endif
}

#ifdef COMET_BYTE_PRODUCTS

/// IntegerOperand whose samples are parted into lower and upper bytes, x = low + 256 high. One
/// factor of these instructions has no sign: it is the weight, 128 too large, and what is too much
/// is 128 times the sum of the sample.
template <class S>
struct ByteOperand : IntegerOperand<S> {
  using typename IntegerOperand<S>::Weight, typename IntegerOperand<S>::Element;
  using IntegerOperand<S>::depth;
  static constexpr Index block = 32;
  static constexpr Index stride = depth + block;  // behind the elements is their sum

  /// Of each block the lower bytes, then the upper ones.
  static void prepare(const S* x, Index size, S unit, Element* out) {
    Element rounded[std::size_t(depth)];
    portable::round_to_sixteen(x, size, unit, rounded);
    std::fill(rounded + size, rounded + (size + block - 1) / block * block, Element(0));
    std::int32_t total = 0;
    for (Index l = 0; l < size; l += block) {
      std::int8_t low[std::size_t(block)], high[std::size_t(block)];
      for (Index i = 0; i < block; ++i) {
        const std::int32_t value = rounded[l + i];
        low[i] = std::int8_t(value);
        high[i] = std::int8_t((value - low[i]) / 256);
        total += value;
      }
      std::memcpy(out + l, low, sizeof low);
      std::memcpy(out + l + block / 2, high, sizeof high);
    }
    std::memcpy(out + depth, &total, sizeof total);
  }

  template <int Units, int Columns>
  COMET_BYTE_PRODUCTS static void tile(const Weight* w, Index w_stride, const Element* x,
                                       Index x_stride, Index size, S* sums) {
    __m256i low[std::size_t(Units)][std::size_t(Columns)];
    __m256i high[std::size_t(Units)][std::size_t(Columns)];
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) low[u][c] = high[u][c] = _mm256_setzero_si256();
    }
    Index l = 0;
    for (; l + block <= size; l += block) {
      if constexpr (Columns == 1) {
        COMET_UNROLL
        for (int u = 0; u < Units; ++u) __builtin_prefetch(w + u * w_stride + l + ahead);
      }
      step<true, Units, Columns>(w + l, w_stride, 0, x + l, x_stride, low, high);
    }
    if (l < size) {
      const auto inside = __mmask32((std::uint32_t(1) << (size - l)) - 1);
      step<false, Units, Columns>(w + l, w_stride, inside, x + l, x_stride, low, high);
    }
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      std::int32_t total;
      std::memcpy(&total, x + c * x_stride + depth, sizeof total);
      const __m128i too_much = _mm_set1_epi32(total * 128);
      COMET_UNROLL
      for (int u = 0; u < Units; u += 4) {
        __m256i lanewise[4];
        COMET_UNROLL
        for (int i = 0; i < 4; ++i)
          lanewise[i] = _mm256_add_epi32(low[u + i][c], _mm256_slli_epi32(high[u + i][c], 8));
        const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(lanewise[0], lanewise[1]),
                                                _mm256_hadd_epi32(lanewise[2], lanewise[3]));
        std::int32_t four[4];
        _mm_storeu_si128(reinterpret_cast<__m128i*>(four),
                         _mm_sub_epi32(_mm_add_epi32(_mm256_castsi256_si128(pairs),
                                                     _mm256_extracti128_si256(pairs, 1)),
                                       too_much));
        for (int i = 0; i < 4; ++i) sums[c * Units + u + i] = S(four[i]);
      }
    }
  }

 private:
  /// Bytes of a stream of weights that are asked for before they are needed.
  static constexpr Index ahead = 512;

  /// keep_in_register() where there are 32 of them. Else g++ 12 copies every sum twice a block.
  COMET_BYTE_PRODUCTS static EIGEN_ALWAYS_INLINE void stay_in_register(__m256i& sum) {
    __asm__("" : "+v"(sum));
  }

  /// Adds a block, or the weights of one that are `inside`: others are not read.
  template <bool whole, int Units, int Columns>
  COMET_BYTE_PRODUCTS static EIGEN_ALWAYS_INLINE void step(
      const Weight* w, Index w_stride, [[maybe_unused]] __mmask32 inside, const Element* x,
      Index x_stride, __m256i (&low)[std::size_t(Units)][std::size_t(Columns)],
      __m256i (&high)[std::size_t(Units)][std::size_t(Columns)]) {
    const __m256i sign = _mm256_set1_epi8(-128);
    __m256i lower[std::size_t(Columns)], upper[std::size_t(Columns)];
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      const auto* bytes = reinterpret_cast<const __m256i*>(x + c * x_stride);
      lower[c] = _mm256_loadu_si256(bytes);
      upper[c] = _mm256_loadu_si256(bytes + 1);
    }
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      const Weight* from = w + u * w_stride;
      __m256i weights;
      if constexpr (whole)
        weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      else
        weights = _mm256_maskz_loadu_epi8(inside, from);
      weights = _mm256_xor_si256(sign, weights);
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) {
        low[u][c] = _mm256_dpbusd_epi32(low[u][c], weights, lower[c]);
        high[u][c] = _mm256_dpbusd_epi32(high[u][c], weights, upper[c]);
        stay_in_register(low[u][c]);
        stay_in_register(high[u][c]);
      }
    }
  }
};

#endif

}  // namespace comet::detail
