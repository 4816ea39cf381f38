// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <comet/core/types.hpp>
#include <comet/kernels/portable/experts.hpp>
#include <comet/kernels/simd.hpp>

namespace comet::detail {

/// Weights of eight bits meet samples that are rounded to sixteen, as a share of their largest
/// element: 256 times as fine as the weights. Sums are integers, exact in any order.
template <class S>
struct IntegerOperand {
  using Weight = std::int8_t;
  using Element = std::int16_t;
  static constexpr Index block = 16;
  static constexpr Index depth = portable::integer_depth;
  static constexpr Index stride = depth;

  /// Of a sample that has a nan it is one, and so are the results: no integer would tell of it. The
  /// largest of some numbers may pass over a nan; that 0 times each of them is not 0 does not.
  static S unit(const S* x, Index size) {
    const Eigen::Map<const Vector<S>> column(x, size);
    const S largest = column.cwiseAbs().maxCoeff() + (column.array() * S(0)).sum();
    return largest / S(portable::largest_rounded);
  }
  /// What the parts of a sum come to. In one rounding, for a compiler may fuse a product and a sum,
  /// and would do so in some tiles and not in others.
  static S add(S sum, S unit, S out) { return std::fma(sum, unit, out); }
  static void prepare(const S* x, Index size, S unit, Element* out) {
    portable::round_to_sixteen(x, size, unit, out);
    std::fill(out + size, out + (size + block - 1) / block * block, Element(0));
  }

  template <int Units, int Columns>
  static void tile(const Weight* w, Index w_stride, const Element* x, Index x_stride, Index size,
                   S* sums) {
    std::int32_t sum[std::size_t(Columns)][std::size_t(Units)] = {};
    Index l = 0;
#if defined(__AVX2__)
    __m256i lanewise[std::size_t(Units)][std::size_t(Columns)];
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) lanewise[u][c] = _mm256_setzero_si256();
    }
    for (; l + block <= size; l += block) {
      __m256i part[std::size_t(Columns)];
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c)
        part[c] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c * x_stride + l));
      COMET_UNROLL
      for (int u = 0; u < Units; ++u) {
        const __m256i weights = _mm256_cvtepi8_epi16(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + u * w_stride + l)));
        COMET_UNROLL
        for (int c = 0; c < Columns; ++c)
          lanewise[u][c] = _mm256_add_epi32(lanewise[u][c], _mm256_madd_epi16(weights, part[c]));
      }
    }
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int u = 0; u < Units; u += 4) {
        const __m256i pairs =
            _mm256_hadd_epi32(_mm256_hadd_epi32(lanewise[u][c], lanewise[u + 1][c]),
                              _mm256_hadd_epi32(lanewise[u + 2][c], lanewise[u + 3][c]));
        _mm_storeu_si128(
            reinterpret_cast<__m128i*>(sum[c] + u),
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
      }
    }
#endif
    for (int c = 0; c < Columns; ++c)
      for (int u = 0; u < Units; ++u) {
        for (Index i = l; i < size; ++i)
          sum[c][u] += std::int32_t(w[u * w_stride + i]) * std::int32_t(x[c * x_stride + i]);
        sums[c * Units + u] = S(sum[c][u]);
      }
  }
};

}  // namespace comet::detail
