// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/bfloat16_operand.hpp>
#include <comet/kernels/byte_operand.hpp>
#include <comet/kernels/integer_operand.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief Products with weights that are kept in fewer bits than a float has. Once weights come at
/// a half or a quarter of the bytes, it is not memory that one sample waits for but arithmetic: so
/// samples are brought into a form in which a weight needs next to no preparation, by an operand
/// (bfloat16_operand.hpp, integer_operand.hpp, byte_operand.hpp). Every element is summed in one
/// fixed order, as in other products (product.hpp).

namespace comet::detail {

/// Part of a product: some rows of the weights with a strip of prepared columns.
template <class Operand, class S>
struct StoredPart {
  static constexpr Index stride = Operand::stride, strip = 8;

  const typename Operand::Weight* w;
  Index w_stride;
  Index size;  // rows, at most Operand::depth
  const typename Operand::Element* x;
  const S* units;  // per column: what its sums are multiplied by
  bool adds;       // to y, which has the rows before
  S* y;
  Index y_stride;

  /// Units first + i * apart for i in 0..count-1, and so for the `apart` - 1 behind them: memory
  /// gives several streams in the time of one.
  template <int Units, int Columns>
  void outputs(Index first, Index apart, Index c) const {
    S sums[std::size_t(Units * Columns)];
    for (Index u = first; u < first + apart; ++u) {
      Operand::template tile<Units, Columns>(w + u * w_stride, apart * w_stride, x + c * stride,
                                             stride, size, sums);
      for (int j = 0; j < Columns; ++j) {
        S* out = y + (c + j) * y_stride + u;
        const S unit = units[c + j];
        for (int i = 0; i < Units; ++i) {
          const S sum = sums[j * Units + i];
          out[i * apart] = adds ? Operand::add(sum, unit, out[i * apart]) : sum * unit;
        }
      }
    }
  }

  /// The last one to three units.
  void output(Index u, Index c) const {
    S sums[4];
    Operand::template tile<4, 1>(w + u * w_stride, 0, x + c * stride, stride, size, sums);
    S& out = y[c * y_stride + u];
    out = adds ? Operand::add(sums[0], units[c], out) : sums[0] * units[c];
  }

  void run(Index num_units, Index num_columns) const {
    Index u = 0;
    if (num_columns == 1) {
      outputs<8, 1>(0, num_units / 8, 0);
      u = num_units / 8 * 8;
    }
    const Index apart = (num_units - u) / 4;
    for_each_tile<3>(num_columns,
                     [&](Index c, auto columns) { outputs<4, columns()>(u, apart, c); });
    for (u += 4 * apart; u < num_units; ++u)
      for (Index c = 0; c < num_columns; ++c) output(u, c);
  }
};

/// y = w^T x with weights of fewer bits.
/// \param w  d x m
/// \param x  d x B
/// \param y  m x B; columns are contiguous
/// \param shrink  a power of two that y is multiplied by
template <class Operand, class S>
void stored_product(const Matrix<typename Operand::Weight>& w, const ConstMatrixView<S>& x,
                    MatrixView<S> y, S shrink = S(1)) {
  using Part = StoredPart<Operand, S>;
  alignas(64) typename Operand::Element prepared[std::size_t(Part::stride * Part::strip)];
  S units[std::size_t(Part::strip)], shrunk[std::size_t(Part::strip)];
  for (Index first = 0; first < x.cols(); first += Part::strip) {
    const Index width = std::min(Part::strip, x.cols() - first);
    const auto column = [&](Index c) { return x.data() + (first + c) * x.outerStride(); };
    for (Index c = 0; c < width; ++c) {
      units[c] = Operand::unit(column(c), x.rows());
      shrunk[c] = units[c] * shrink;
    }
    for (Index k = 0; k < x.rows(); k += Operand::depth) {
      const Index size = std::min(Operand::depth, x.rows() - k);
      for (Index c = 0; c < width; ++c)
        Operand::prepare(column(c) + k, size, units[c], prepared + c * Part::stride);
      const Part part{w.data() + k,
                      w.outerStride(),
                      size,
                      prepared,
                      shrunk,
                      k > 0,
                      y.data() + first * y.outerStride(),
                      y.outerStride()};
      part.run(w.cols(), width);
    }
  }
}

/// The same with weights of eight bits, by the best of what the processor has: the sums are exact.
template <class S>
void integer_product(const Matrix<std::int8_t>& w, const ConstMatrixView<S>& x, MatrixView<S> y,
                     S shrink = S(1)) {
#ifdef COMET_BYTE_PRODUCTS
  if (multiplies_bytes()) {
    stored_product<ByteOperand<S>, S>(w, x, y, shrink);
    return;
  }
#endif
  stored_product<IntegerOperand<S>, S>(w, x, y, shrink);
}

/// y = scale * (w^T x), row by row. Without its scale a product may overflow though with it it does
/// not; such a column is computed once more on a smaller scale, as portable::affine does.
/// \param scale  m, all > 0
template <class S>
void scaled_integer_product(const Matrix<std::int8_t>& w, const Matrix<S>& scale,
                            const ConstMatrixView<S>& x, MatrixView<S> y) {
  integer_product<S>(w, x, y);
  y.array().colwise() *= scale.col(0).array();
  for (Index c = 0; c < x.cols(); ++c) {
    if (all_finite(y.col(c).array())) [[likely]]
      continue;
    constexpr S shrink = portable::overflow_shrink<S>;
    integer_product<S>(w, x.col(c), y.col(c), shrink);
    y.col(c).array() *= scale.col(0).array();
    y.col(c) /= shrink;
  }
}

}  // namespace comet::detail
