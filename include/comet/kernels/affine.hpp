// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/kernels/product.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/transposed_product.hpp>

/// \file
/// \brief Affine maps with activation on blocks of columns: behind layers and experts.

namespace comet {

namespace detail {

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
