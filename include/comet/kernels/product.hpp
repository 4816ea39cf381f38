// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief The products of layers and experts in the backward pass, as transposed_product.hpp has
/// those of the forward pass: every element is summed in one fixed order, and nothing is allocated.
///
/// What goes down the columns of the result is packed, for each of its columns meets all of it; of
/// few columns it is read where it is.

namespace comet::detail {

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
/// \param depth  number of k
template <int Registers, int Columns, class S>
void outer_tile(const S* a, Index a_stride, Index depth, const Strided<S>& b, bool accumulate,
                S* out, Index out_stride) {
  SumTile<Registers, Columns, S> tile;
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    COMET_UNROLL
    for (int r = 0; r < Registers; ++r)
      tile.sum[c][r] = accumulate ? simd::ploadu<Packet<S>>(out + r * lanes<S> + c * out_stride)
                                  : simd::pset1<Packet<S>>(S(0));
  }
  tile.add(a, a_stride, lanes<S>, b.data, b.row_stride, b.column_stride, depth);
  COMET_UNROLL
  for (int c = 0; c < Columns; ++c) {
    COMET_UNROLL
    for (int r = 0; r < Registers; ++r)
      simd::pstoreu(out + r * lanes<S> + c * out_stride, tile.sum[c][r]);
  }
}

/// A part of `a`, its rows in panels of two registers, or four of 32, each panel contiguous and
/// padded with zeros. It fits the second-level cache with room to spare.
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
          rows,
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

  /// out(:, 0..columns-1) += or = the part times b. A group of panels meets all of b before the next
  /// one does: the two fit the first-level cache, from which they are read once per tile. Flat
  /// panels are all in one, and whole columns come from memory.
  /// \param ahead  columns behind these that will come later: a tile asks for the one after it, since
  ///               a gradient has not been touched since the last step
  void multiply(const Strided<S>& b, Index columns, bool accumulate, S* out, Index out_stride,
                Index ahead) const {
    const Index group_rows = panel_rows * (most_depth / std::max(Index(1), depth_));
    for (Index first = 0; first < rows_; first += group_rows) {
      const Index rows = std::min(group_rows, rows_ - first);
      for_each_tile<low>(columns, [&](Index c, auto width) {
        S* const target = out + first + c * out_stride;
        const S* panel = values_ + depth_ * first;
        const Index next = std::min(Index(width()), columns + ahead - c - width());
        for_each_panel(
            rows,
            [&](Index row, auto registers) {
              constexpr Index height = registers() * lanes<S>;
              for (Index i = width(); i < width() + next; ++i)
                prefetch(target + row + i * out_stride, height);
              outer_tile<registers(), width()>(panel, height, depth_, b.at(0, c), accumulate,
                                               target + row, out_stride);
              panel += depth_ * height;
            },
            [&](Index row, Index inside) {
              S edge[std::size_t(low_height * width())] = {};
              if (accumulate)
                for (Index i = 0; i < width(); ++i)
                  std::copy_n(target + row + i * out_stride, inside, edge + i * low_height);
              outer_tile<low, width()>(panel, low_height, depth_, b.at(0, c), accumulate, edge,
                                       low_height);
              for (Index i = 0; i < width(); ++i)
                std::copy_n(edge + i * low_height, inside, target + row + i * out_stride);
            });
      });
    }
  }

 private:
  static constexpr int low = 2, high = many_registers<S> ? 4 : low;  // panels, in registers
  static constexpr Index low_height = low * lanes<S>;
  static constexpr Index panel_rows = 256 / Index(sizeof(S));  // of a group of the tallest panels
  static_assert(panel_rows % (high * lanes<S>) == 0, "only the last panel is partial");

  /// Calls full(row, registers) for panels from the top, high ones first, then maybe
  /// partial(row, rows inside a low one).
  template <class Full, class Partial>
  static EIGEN_ALWAYS_INLINE void for_each_panel(Index rows, Full full, Partial partial) {
    Index row = 0;
    const auto panels = [&](auto registers) {
      constexpr Index height = registers() * lanes<S>;
      for (; row + height <= rows; row += height) full(row, registers);
    };
    panels(std::integral_constant<int, high>{});
    if constexpr (high > low) panels(std::integral_constant<int, low>{});
    if (row < rows) partial(row, rows - row);
  }

  alignas(64) S values_[std::size_t(most_rows * most_depth)];
  Index rows_ = 0;
  Index depth_ = 0;
};

/// product() with few columns, k >= 1: packing `a` would take longer than what is computed with it.
/// It is read where it is, a few of its columns at a time, while the next ones are on their way. The
/// fewer columns, the taller the panels: fewer than eight sums would wait for each other.
template <class S>
void thin_product(bool accumulate, S* out, Index out_stride, Index rows, Index columns, const S* a,
                  Index a_stride, Index depth, const Strided<S>& b) {
  constexpr Index most_depth = 16;
  const S* const end = a + rows + (depth - 1) * a_stride;
  for (Index k = 0; k < depth; k += most_depth) {
    const Index some = std::min(most_depth, depth - k);
    const Index ahead = std::min(most_depth, depth - k - some);
    const bool add = accumulate || k > 0;
    const S* const part = a + k * a_stride;
    Index row = 0;
    const auto panels = [&](auto registers) {
      constexpr Index height = registers() * lanes<S>;
      // Of 16 registers, which for_each_tile() takes for granted. More than 3 are for one column.
      constexpr int sixteens = many_registers<S> ? 2 : 1;
      constexpr int beside = std::min(3, (registers() + sixteens - 1) / sixteens);
      for (; row + height <= rows; row += height) {
        for (Index next = some; next < some + ahead; ++next)
          prefetch(part + row + next * a_stride, height);
        for_each_tile<beside>(columns, [&](Index c, auto width) {
          outer_tile<registers(), width()>(part + row, a_stride, some, b.at(k, c), add,
                                           out + row + c * out_stride, out_stride);
        });
      }
    };
    if (columns == 1) panels(std::integral_constant<int, 8>{});
    if (columns <= 3 || many_registers<S>) panels(std::integral_constant<int, 4>{});
    panels(std::integral_constant<int, 2>{});
    panels(std::integral_constant<int, 1>{});
    for (Index c = 0; row < rows && c < columns; ++c) {
      S* const target = out + row + c * out_stride;
      SumTile<1, 1, S> tile;
      tile.sum[0][0] = load_partial(target, add ? rows - row : 0);
      tile.add_within(end, part + row, a_stride, 0, b.at(k, c).data, b.row_stride, 0, some);
      store_lanes(target, tile.sum[0][0], rows - row);
    }
  }
}

/// out = a b, or out += a b.
/// \param a    r x k
/// \param b    k x c, or the transpose of a c x k matrix
/// \param out  r x c; columns of matrices are contiguous
template <bool accumulate, class Out, class A, class B>
void product(Out&& out, const A& a, const B& b) {
  using S = typename A::Scalar;
  using Panels = PackedPanels<S>;
  const Strided<S> all_factors{b.data(), b.rowStride(), b.colStride()};
  constexpr Index few_columns = 16;
  constexpr Index most_columns = 48;  // of b at a time, see multiply()
  if (b.cols() <= few_columns && a.cols() > 0)
    return thin_product(accumulate, out.data(), out.outerStride(), a.rows(), b.cols(), a.data(),
                        a.outerStride(), a.cols(), all_factors);
  Panels panels;
  for (Index row = 0; row < a.rows(); row += Panels::most_rows) {
    const Index rows = std::min(Panels::most_rows, a.rows() - row);
    for (Index k = 0; k < a.cols() || k == 0; k += Panels::most_depth) {
      const Index depth = std::min(Panels::most_depth, a.cols() - k);
      const bool add = accumulate || k > 0;
      panels.pack(a.data() + row + k * a.outerStride(), a.outerStride(), rows, depth);
      for (Index c = 0; c < b.cols(); c += most_columns) {
        const Index columns = std::min(most_columns, b.cols() - c);
        Strided<S> factors = all_factors.at(k, c);
        S packed[std::size_t(Panels::most_depth * most_columns)];
        if (factors.row_stride != 1) {
          // The lines of a tall matrix all fall into a few sets of the cache.
          for (Index i = 0; i < depth; ++i)
            std::copy_n(factors.data + i * factors.row_stride, columns, packed + i * columns);
          factors = {packed, columns, 1};
        }
        panels.multiply(factors, columns, add, out.data() + row + c * out.outerStride(),
                        out.outerStride(), b.cols() - c - columns);
      }
    }
  }
}

}  // namespace comet::detail
