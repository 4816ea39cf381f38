// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief The products of layers and experts in the forward pass: many narrow ones, each with
/// weights of its own.
///
/// Eigen's product is made for one large matrix. Here the weights of an expert meet a few dozen
/// samples, and three things differ. Eigen packs the weights before it uses them, which at 40
/// samples is a fifth of the time; these read them where they are. Eigen's sums depend on the shape
/// of the whole product; here every element is summed in one fixed order, so that a sample's bits
/// do not depend on its batch. And nothing is allocated.
///
/// A tile of 12 sums is kept in registers, enough to hide the latency of multiply-add on two units,
/// with a load less than one per multiply-add; 24 where there are 32 registers.

namespace comet::detail {

/// Outputs of a tile of inner products.
template <class S>
inline constexpr int tile_units = many_registers<S> ? 8 : 4;

/// sum(u, c) += w(0.., u) * x(0.., c), a register of each.
template <int Units, int Columns, class S, class Load>
EIGEN_ALWAYS_INLINE void inner_step(const S* w, Index w_stride, const S* x, Index x_stride,
                                    Load load,
                                    Packet<S> (&sum)[std::size_t(Columns)][std::size_t(Units)]) {
  Packet<S> x_part[std::size_t(Columns)];
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) x_part[c] = load(x + c * x_stride);
  COMET_UNROLL
  for (int u = 0; u < Units; ++u) {
    const Packet<S> w_part = load(w + u * w_stride);
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) sum[c][u] = simd::pmadd(w_part, x_part[c], sum[c][u]);
  }
}

/// y(u.., c..) = w(:, u)^T x(:, c) for Units in {1, 4, 8} and Columns in {1, 2, 3}. An element sums
/// lane by lane along the vectors, then over the lanes, in any tile.
template <int Units, int Columns, class S>
COMET_INLINE_TILE void inner_tile(const S* w, Index w_stride, const S* x, Index x_stride,
                                  Index size, S* y, Index y_stride) {
  Packet<S> sum[std::size_t(Columns)][std::size_t(Units)];
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) sum[c][u] = simd::pset1<Packet<S>>(S(0));
  }
  const auto step = [&](Index from) {
    inner_step<Units, Columns>(
        w + from, w_stride, x + from, x_stride,
        [](const S* values) { return simd::ploadu<Packet<S>>(values); }, sum);
  };
  Index l = 0;
  for (; l + 4 * lanes<S> <= size; l += 4 * lanes<S>) {
    COMET_UNROLL
    for (int i = 0; i < 4; ++i) step(l + i * lanes<S>);
  }
  for (; l + lanes<S> <= size; l += lanes<S>) step(l);
  if (l < size)
    inner_step<Units, Columns>(
        w + l, w_stride, x + l, x_stride,
        [rest = size - l](const S* values) { return load_partial(values, rest); }, sum);

  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    if constexpr (Units == 1) {
      S sums[4];
      sum_lanes(sum[c][0], sum[c][0], sum[c][0], sum[c][0], sums);
      y[c * y_stride] = sums[0];
    } else {
      sum_lanes(sum[c], y + c * y_stride);
    }
  }
}

/// y(u.., :) = w(:, u)^T x for Units of the units.
/// \param ahead  values behind those units that will be read next. They are far away in the caches,
///               so they are asked for, an equal part with each tile; few columns leave no time for
///               all of them.
template <int Units, class S>
void inner_tiles(const S* w, Index w_stride, Index ahead, const S* x, Index x_stride, Index size,
                 Index columns, S* y, Index y_stride) {
  const Index part = ahead / std::max(Index(4), (columns + 2) / 3);
  const S* next = w + Units * w_stride;
  for_each_tile<3>(columns, [&](Index c, auto width) {
    prefetch(next, part);
    next += part;
    inner_tile<Units, width()>(w, w_stride, x + c * x_stride, x_stride, size, y + c * y_stride,
                               y_stride);
  });
}

/// y(u + i * apart, :) = w(:, u + i * apart)^T x for i in 0..Units-1, for few columns: next to
/// nothing is computed with weights that come from afar, and memory gives several streams in the
/// time of one.
template <int Units, class S>
void distant_units(const S* w, Index w_stride, Index apart, const S* x, Index x_stride, Index size,
                   Index columns, S* y, Index y_stride) {
  for_each_tile<3>(columns, [&](Index c, auto width) {
    if constexpr (Units == 4 || width() == 1) {
      S sums[std::size_t(Units * width())];
      inner_tile<Units, width()>(w, apart * w_stride, x + c * x_stride, x_stride, size, sums,
                                 Units);
      for (Index i = 0; i < width(); ++i)
        for (Index u = 0; u < Units; ++u) y[u * apart + (c + i) * y_stride] = sums[Units * i + u];
    }
  });
}

/// y = w^T x. \param w  d x m \param x  d x B \param y  m x B, all with contiguous columns.
/// x should fit the second-level cache: callers cut it into strips.
template <class W, class X, class Y>
void transposed_product(const W& w, const X& x, Y&& y) {
  using S = typename W::Scalar;
  constexpr Index few_columns = 8;
  const Index m = w.cols();
  const Index stride = w.outerStride();
  Index u = 0;
  const auto distant = [&](auto count) {
    const Index apart = m / count();
    for (; u < apart; ++u)
      distant_units<count()>(w.data() + u * stride, stride, apart, x.data(), x.outerStride(),
                             w.rows(), x.cols(), y.data() + u, y.outerStride());
    u = count() * apart;
  };
  if (x.cols() == 1) {
    distant(std::integral_constant<int, 8>{});  // fewer sums would wait for each other
  } else if (x.cols() <= few_columns) {
    distant(std::integral_constant<int, 4>{});
  }
  const auto units = [&](auto count) {
    const Index ahead = std::min(Index(tile_units<S>), m - u - count()) * stride;
    inner_tiles<count()>(w.data() + u * stride, stride, ahead, x.data(), x.outerStride(), w.rows(),
                         x.cols(), y.data() + u, y.outerStride());
    u += count();
  };
  while (m - u >= tile_units<S>) units(std::integral_constant<int, tile_units<S>>{});
  if (m - u >= 4) units(std::integral_constant<int, 4>{});
  while (u < m) units(std::integral_constant<int, 1>{});
}

}  // namespace comet::detail
