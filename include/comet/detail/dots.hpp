// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>

#include <comet/types.hpp>

/// \file
/// \brief Inner products of one vector with a few others, in one fixed order of summation.
///
/// Gates compare and threshold these numbers, so they must be the same bits whether a sample is
/// routed alone or in a batch, and whether all hyperplanes of a tree are evaluated or only those on
/// a sample's path. A matrix product gives no such promise: here every pair has its own vector
/// two accumulators, whatever else is computed beside it. Four samples at a time keep eight chains
/// of multiply-adds going, which comes close to the speed of a matrix product; a single sample
/// still has two.

namespace comet::detail {

/// Samples taken in one go: their accumulators and the shared vectors fit 16 registers.
inline constexpr Index dot_width = 4;

template <int Width, class S>
void dot_block(const S* w, Index size, const S* const* x, S bias, S* out, Index out_stride) {
  using Packet = typename Eigen::internal::packet_traits<S>::type;
  constexpr Index lanes = Eigen::internal::packet_traits<S>::size;
  namespace ops = Eigen::internal;

  Packet sums[std::size_t(Width)];
  Packet odd_sums[std::size_t(Width)];
  for (int i = 0; i < Width; ++i) sums[i] = odd_sums[i] = ops::pset1<Packet>(S(0));
  Index l = 0;
  for (; l + 2 * lanes <= size; l += 2 * lanes) {
    const Packet shared = ops::ploadu<Packet>(w + l);
    const Packet odd_shared = ops::ploadu<Packet>(w + l + lanes);
    for (int i = 0; i < Width; ++i) {
      sums[i] = ops::pmadd(shared, ops::ploadu<Packet>(x[i] + l), sums[i]);
      odd_sums[i] = ops::pmadd(odd_shared, ops::ploadu<Packet>(x[i] + l + lanes), odd_sums[i]);
    }
  }
  if (l + lanes <= size) {
    const Packet shared = ops::ploadu<Packet>(w + l);
    for (int i = 0; i < Width; ++i)
      sums[i] = ops::pmadd(shared, ops::ploadu<Packet>(x[i] + l), sums[i]);
    l += lanes;
  }
  if (l < size) {
    // The rest is padded with zeros and takes the same instructions.
    S padded[std::size_t(lanes)] = {};
    std::copy_n(w + l, size - l, padded);
    const Packet shared = ops::ploadu<Packet>(padded);
    for (int i = 0; i < Width; ++i) {
      S operand[std::size_t(lanes)] = {};
      std::copy_n(x[i] + l, size - l, operand);
      sums[i] = ops::pmadd(shared, ops::ploadu<Packet>(operand), sums[i]);
    }
  }
  for (int i = 0; i < Width; ++i)
    out[i * out_stride] = ops::predux(ops::padd(sums[i], odd_sums[i])) + bias;
}

/// out[i * out_stride] = w . x[i] + bias for i in 0..count-1.
template <class S>
void dots(const S* w, Index size, const S* const* x, Index count, S bias, S* out,
          Index out_stride = 1) {
  Index i = 0;
  for (; i + dot_width <= count; i += dot_width)
    dot_block<int(dot_width)>(w, size, x + i, bias, out + i * out_stride, out_stride);
  if (i + 2 <= count) {
    dot_block<2>(w, size, x + i, bias, out + i * out_stride, out_stride);
    i += 2;
  }
  if (i < count) dot_block<1>(w, size, x + i, bias, out + i * out_stride, out_stride);
}

/// The same for the columns of a matrix.
template <class S, class X>
void dots(const S* w, Index size, const X& x, S bias, S* out, Index out_stride) {
  const S* columns[dot_width];
  for (Index first = 0; first < x.cols(); first += dot_width) {
    const Index count = std::min(dot_width, x.cols() - first);
    for (Index i = 0; i < count; ++i) columns[i] = x.data() + (first + i) * x.outerStride();
    dots(w, size, columns, count, bias, out + first * out_stride, out_stride);
  }
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
