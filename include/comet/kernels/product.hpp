// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief The products of layers and experts: many narrow ones, each with weights of its own.
///
/// Eigen's product is made for one large matrix. Here the weights of an expert meet a few dozen
/// samples, and three things differ. Eigen packs the weights before it uses them, which at 40
/// samples is a fifth of the time; these read them where they are. Eigen's sums depend on the shape
/// of the whole product; here every element is summed in one fixed order, so that a sample's bits
/// do not depend on its batch. And nothing is allocated.
///
/// Both kernels keep a tile of 12 sums in registers, enough to hide the latency of multiply-add on
/// two units, with a load less than one per multiply-add; inner products of 24 where there are 32
/// registers.

namespace comet::detail {

/// Outputs of a tile of inner products.
template <class S>
inline constexpr int tile_units = sizeof(Packet<S>) == 64 ? 8 : 4;

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

/// A matrix whose elements are anywhere: a(i, j) = data[i * row_stride + j * column_stride].
template <class S>
struct Strided {
  const S* data;
  Index row_stride;
  Index column_stride;

  [[nodiscard]] Strided at(Index row, Index column) const {
    return {data + row * row_stride + column * column_stride, row_stride, column_stride};
  }
};

/// out += a b, or out = a b, for a tile of Registers * lanes rows; an element sums over k in
/// ascending order.
/// \param a  column k at a + k * Registers * lanes    \param depth  number of k
template <int Registers, int Columns, class S>
void outer_tile(const S* a, Index depth, const Strided<S>& b, bool accumulate, S* out,
                Index out_stride) {
  SumTile<Registers, Columns, S> tile;
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    COMET_UNROLL
    for (int r = 0; r < Registers; ++r)
      tile.sum[c][r] = accumulate ? simd::ploadu<Packet<S>>(out + r * lanes<S> + c * out_stride)
                                  : simd::pset1<Packet<S>>(S(0));
  }
  tile.add(a, Registers * lanes<S>, lanes<S>, b.data, b.row_stride, b.column_stride, depth);
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    COMET_UNROLL
    for (int r = 0; r < Registers; ++r)
      simd::pstoreu(out + r * lanes<S> + c * out_stride, tile.sum[c][r]);
  }
}

/// A part of `a`, its rows in panels of two registers, or four of 32, each panel contiguous and
/// padded with zeros. It is read from the second-level cache once per tile of columns, and fits it
/// with room to spare.
template <class S>
class PackedPanels {
 public:
  static constexpr Index most_depth = 64;
  static constexpr Index most_rows = 1024 / Index(sizeof(S));

  /// Reads columns from top to bottom, as memory likes it.
  void pack(const S* a, Index a_stride, Index rows, Index depth) {
    rows_ = rows;
    depth_ = depth;
    for (Index k = 0; k < depth; ++k) {
      const S* column = a + k * a_stride;
      S* target = values_;
      for_each_panel(
          [&](Index row, auto registers) {
            constexpr Index height = registers() * lanes<S>;
            for (Index r = 0; r < height; r += lanes<S>)  // g++ would call a copy
              simd::pstoreu(target + k * height + r, simd::ploadu<Packet<S>>(column + row + r));
            target += depth * height;
          },
          [&](Index row, Index inside) {
            S* last = std::copy_n(column + row, inside, target + k * low_height);
            std::fill_n(last, low_height - inside, S(0));
          });
    }
  }

  /// out(:, 0..Columns-1) += or = the part times b.
  /// \param ahead  columns behind those that will come next: asked for on the way, since a gradient
  ///               has not been touched since the last step
  template <int Columns>
  void multiply(const Strided<S>& b, bool accumulate, S* out, Index out_stride, Index ahead) const {
    const S* panel = values_;
    for_each_panel(
        [&](Index row, auto registers) {
          constexpr Index height = registers() * lanes<S>;
          for (Index c = Columns; c < Columns + ahead; ++c)
            prefetch(out + row + c * out_stride, height);
          outer_tile<registers(), Columns>(panel, depth_, b, accumulate, out + row, out_stride);
          panel += depth_ * height;
        },
        [&](Index row, Index inside) {
          S edge[std::size_t(low_height * Columns)] = {};
          if (accumulate)
            for (Index c = 0; c < Columns; ++c)
              std::copy_n(out + row + c * out_stride, inside, edge + c * low_height);
          outer_tile<low, Columns>(panel, depth_, b, accumulate, edge, low_height);
          for (Index c = 0; c < Columns; ++c)
            std::copy_n(edge + c * low_height, inside, out + row + c * out_stride);
        });
  }

 private:
  static constexpr int low = 2, high = sizeof(Packet<S>) == 64 ? 4 : low;  // panels, in registers
  static constexpr Index low_height = low * lanes<S>;

  /// Calls full(row, registers) for panels from the top, high ones first, then maybe
  /// partial(row, rows inside a low one).
  template <class Full, class Partial>
  EIGEN_ALWAYS_INLINE void for_each_panel(Full full, Partial partial) const {
    Index row = 0;
    const auto panels = [&](auto registers) {
      constexpr Index height = registers() * lanes<S>;
      for (; row + height <= rows_; row += height) full(row, registers);
    };
    panels(std::integral_constant<int, high>{});
    if constexpr (high > low) panels(std::integral_constant<int, low>{});
    if (row < rows_) partial(row, rows_ - row);
  }

  alignas(64) S values_[std::size_t(most_rows * most_depth)];
  Index rows_ = 0;
  Index depth_ = 0;
};

/// out = a b, or out += a b.
/// \param a  r x k    \param b  k x c, or the transpose of a c x k matrix    \param out  r x c;
/// columns of matrices are contiguous
template <bool accumulate, class Out, class A, class B>
void product(Out&& out, const A& a, const B& b) {
  using S = typename A::Scalar;
  using Panels = PackedPanels<S>;
  const Strided<S> all_factors{b.data(), b.rowStride(), b.colStride()};
  Panels panels;
  for (Index row = 0; row < a.rows(); row += Panels::most_rows) {
    const Index rows = std::min(Panels::most_rows, a.rows() - row);
    for (Index k = 0; k < a.cols() || k == 0; k += Panels::most_depth) {
      const Index depth = std::min(Panels::most_depth, a.cols() - k);
      const bool add = accumulate || k > 0;
      panels.pack(a.data() + row + k * a.outerStride(), a.outerStride(), rows, depth);
      Index c = 0;
      const auto columns = [&](auto count) {
        S* target = out.data() + row + c * out.outerStride();
        Strided<S> factors = all_factors.at(k, c);
        S packed[std::size_t(Panels::most_depth * count())];
        if (factors.row_stride != 1) {
          // The lines of a tall matrix all fall into a few sets of the cache.
          for (Index i = 0; i < depth; ++i)
            std::copy_n(factors.data + i * factors.row_stride, count(), packed + i * count());
          factors = {packed, count(), 1};
        }
        c += count();
        panels.template multiply<count()>(factors, add, target, out.outerStride(),
                                          std::min(Index(count()), out.cols() - c));
      };
      using std::integral_constant;
      while (out.cols() - c >= 6) columns(integral_constant<int, 6>{});
      if (out.cols() - c >= 4) columns(integral_constant<int, 4>{});
      if (out.cols() - c >= 2) columns(integral_constant<int, 2>{});
      if (out.cols() - c >= 1) columns(integral_constant<int, 1>{});
    }
  }
}

}  // namespace comet::detail
