// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/kernels/product.hpp>
#include <comet/kernels/transposed_product.hpp>

/// \file
/// \brief Affine maps with activation on blocks of columns: behind layers and experts.

namespace comet {

namespace detail {

/// y = activation(y + bias), column by column. \param slope  as of affine_forward()
template <class S, class Y>
EIGEN_ALWAYS_INLINE void add_bias_and_activate(const Matrix<S>& bias, Activation activation, Y&& y,
                                               MatrixView<S> slope) {
  for (Index c = 0; c < y.cols(); ++c) {
    if (activation == Activation::relu) {
      y.col(c) = (y.col(c) + bias.col(0)).cwiseMax(S(0));
    } else {
      y.col(c) += bias.col(0);
    }
    if (keeps_slope(activation))
      activate_smooth(activation, y.rows(), y.col(c).data(),
                      slope.size() > 0 ? slope.col(c).data() : nullptr);
  }
}

/// y = activation(weight^T x + bias) for a block of columns; a column's bits do not depend on the
/// others.
/// \param weight  in x out
/// \param bias    out x 1
/// \param x       in x width
/// \param y       out x width
/// \param slope   out x width, overwritten by the derivative of an activation that keeps it; or
///                no_gradient
template <class S, class X, class Y>
void affine_forward(const Matrix<S>& weight, const Matrix<S>& bias, Activation activation,
                    const X& x, Y&& y, std::type_identity_t<MatrixView<S>> slope = no_gradient) {
  // All weights pass by a strip of x, which stays in the second-level cache, as its y does for bias
  // and activation. Weights come from further away: the fewer strips, the better.
  constexpr Index strip_bytes = 96 * 1024;
  const Index strip = std::max(Index(24), strip_bytes / (Index(sizeof(S)) * x.rows()));
  for (Index first = 0; first < x.cols(); first += strip) {
    const Index width = std::min(strip, x.cols() - first);
    auto y_strip = y.middleCols(first, width);
    transposed_product(weight, x.middleCols(first, width), y_strip);
    if (slope.size() > 0) {
      add_bias_and_activate<S>(bias, activation, y_strip, slope.middleCols(first, width));
    } else {
      add_bias_and_activate<S>(bias, activation, y_strip, no_gradient);
    }
  }
}

/// Output units per slice of a weight gradient: a task for a thread.
inline constexpr Index units_per_slice = 128;

/// gradient(:, units) += x dz^T and bias gradient, for a slice of the output units.
/// \param num_units  at most units_per_slice
/// \see add_in_runs
template <class X, class DZ, class WeightGradient, class BiasGradient>
void affine_accumulate(const X& x, const DZ& dz, Index first_unit, Index num_units,
                       WeightGradient&& weight_gradient, BiasGradient&& bias_gradient) {
  if (dz.cols() == 0) return;
  using S = typename DZ::Scalar;
  constexpr Index rows_per_tile = 64;  // of a run's sum, on the stack
  const auto slice = dz.middleRows(first_unit, num_units);
  auto weight = weight_gradient.middleCols(first_unit, num_units);
  const Index run = std::min(run_length, dz.cols());
  product<true>(weight, x.leftCols(run), slice.leftCols(run).transpose());
  for (Index first = run; first < dz.cols(); first += run_length) {
    const Index width = std::min(run_length, dz.cols() - first);
    for (Index row = 0; row < x.rows(); row += rows_per_tile) {
      const Index rows = std::min(rows_per_tile, x.rows() - row);
      S values[std::size_t(rows_per_tile * units_per_slice)];
      Eigen::Map<Matrix<S>> tile(values, rows, num_units);
      product<false>(tile, x.block(row, first, rows, width),
                     slice.middleCols(first, width).transpose());
      weight.middleRows(row, rows) += tile;
    }
  }
  add_in_runs<units_per_slice>(slice.cols(), bias_gradient.col(0).segment(first_unit, num_units),
                               [&](auto& sum, Index c) { sum += slice.col(c); });
}

inline Index num_slices(Index out) { return (out + units_per_slice - 1) / units_per_slice; }

}  // namespace detail

}  // namespace comet
