// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief Inner products of one vector with a few others, in one fixed order of summation.
///
/// Gates compare and threshold these numbers, so they must be the same bits whether a sample is
/// routed alone or in a batch, and whether all hyperplanes of a tree are evaluated or only those on
/// a sample's path. A matrix product gives no such promise: here every pair has its own
/// two accumulators, whatever else is computed beside it. Four samples at a time keep eight chains
/// of multiply-adds going, which comes close to the speed of a matrix product; a single sample
/// still has two.

namespace comet::detail {

/// Samples taken in one go: their accumulators and the shared vectors fit 16 registers.
inline constexpr Index dot_width = 4;

template <int Width, class S>
void dot_block(const S* w, Index size, const S* const* x, S bias, S* out, Index out_stride) {
  Packet<S> sums[std::size_t(Width)];
  Packet<S> odd_sums[std::size_t(Width)];
  COMET_UNROLL
  for (int i = 0; i < Width; ++i) sums[i] = odd_sums[i] = simd::pset1<Packet<S>>(S(0));
  Index l = 0;
  for (; l + 2 * lanes<S> <= size; l += 2 * lanes<S>) {
    const Packet<S> shared = simd::ploadu<Packet<S>>(w + l);
    const Packet<S> odd_shared = simd::ploadu<Packet<S>>(w + l + lanes<S>);
    COMET_UNROLL
    for (int i = 0; i < Width; ++i) {
      sums[i] = simd::pmadd(shared, simd::ploadu<Packet<S>>(x[i] + l), sums[i]);
      odd_sums[i] =
          simd::pmadd(odd_shared, simd::ploadu<Packet<S>>(x[i] + l + lanes<S>), odd_sums[i]);
    }
  }
  if (l + lanes<S> <= size) {
    const Packet<S> shared = simd::ploadu<Packet<S>>(w + l);
    COMET_UNROLL
    for (int i = 0; i < Width; ++i)
      sums[i] = simd::pmadd(shared, simd::ploadu<Packet<S>>(x[i] + l), sums[i]);
    l += lanes<S>;
  }
  if (l < size) {
    const Packet<S> shared = load_partial(w + l, size - l);
    COMET_UNROLL
    for (int i = 0; i < Width; ++i)
      sums[i] = simd::pmadd(shared, load_partial(x[i] + l, size - l), sums[i]);
  }
  COMET_UNROLL
  for (int i = 0; i < Width; ++i)
    out[i * out_stride] = simd::predux(simd::padd(sums[i], odd_sums[i])) + bias;
}

/// out[i * out_stride] = w . x[i] + bias for i in 0..count-1.
template <class S>
EIGEN_ALWAYS_INLINE void dots(const S* w, Index size, const S* const* x, Index count, S bias,
                              S* out, Index out_stride = 1) {
  Index i = 0;
  for (; i + dot_width <= count; i += dot_width)
    dot_block<int(dot_width)>(w, size, x + i, bias, out + i * out_stride, out_stride);
  if (i + 2 <= count) {
    dot_block<2>(w, size, x + i, bias, out + i * out_stride, out_stride);
    i += 2;
  }
  if (i < count) dot_block<1>(w, size, x + i, bias, out + i * out_stride, out_stride);
}

/// sum += factors[0] * x[0] + ... for `count` vectors, four at a time so that the sum is loaded
/// and stored once for four.
template <class S>
void add_scaled(S* sum, Index size, const S* factors, const S* const* x, Index count) {
  using Column = Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>;
  using ConstColumn = Eigen::Map<const Eigen::Array<S, Eigen::Dynamic, 1>>;
  Column total(sum, size);
  const auto column = [&](Index i) { return ConstColumn(x[i], size); };
  Index i = 0;
  for (; i + 4 <= count; i += 4)
    total += (factors[i] * column(i) + factors[i + 1] * column(i + 1)) +
             (factors[i + 2] * column(i + 2) + factors[i + 3] * column(i + 3));
  if (i + 2 <= count) {
    total += factors[i] * column(i) + factors[i + 1] * column(i + 1);
    i += 2;
  }
  if (i < count) total += factors[i] * column(i);
}

}  // namespace comet::detail
