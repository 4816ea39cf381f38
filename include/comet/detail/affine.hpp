// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include <comet/detail/dots.hpp>
#include <comet/detail/product.hpp>
#include <comet/random.hpp>
#include <comet/types.hpp>

/// \file
/// \brief Affine maps with activation on blocks of columns: the products behind layers and experts.
///
/// Eigen's result for a column depends on the shape of the product it is part of: one column takes
/// the matrix-vector path, a column beyond the last multiple of 4 a scalar path, a product whose
/// three sizes sum to less than 20 a third one (Eigen 3.4). `column_multiple` is the block width
/// that keeps every column on the same path, so that its bits do not depend on its neighbours:
/// callers pad blocks to a multiple of it.

namespace comet {

/// \brief What a linear map does to its result.
enum class Activation { identity, relu };

namespace detail {

/// Width that blocks of columns are padded to for an in x out map.
inline Index column_multiple(Index in, Index out) {
  constexpr Index kernel_columns = 4;
  constexpr Index small_product = 20;
  return in + out + kernel_columns >= small_product ? kernel_columns : small_product;
}

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
    const S factors[2] = {scale<S>(), S(0)};
    for (Index i = 0; i < size; i += 4) {
      std::uint64_t bits = sample_key.bits(std::uint64_t(i) / 4);
      for (Index j = i; j < std::min(i + 4, size); ++j, bits >>= 16U)
        values[j] *= factors[(bits & 0xffffU) < dropped];
    }
  }

  std::uint32_t dropped;  ///< of 2^16
};

/// y = activation(weight^T x + bias) for a block of columns.
/// \param weight  in x out    \param bias  out x 1
/// \param x  in x width       \param y  out x width, width a multiple of column_multiple(in, out)
template <class S, class X, class Y>
void affine_forward(const Matrix<S>& weight, const Matrix<S>& bias, Activation activation,
                    const X& x, Y&& y) {
  if (weight.cols() == 1) {
    // One output would take Eigen's matrix-vector path.
    dots(weight.data(), weight.rows(), x, S(0), y.data(), y.outerStride());
  } else {
    product<false>(y, weight.transpose(), x);
  }
  if (activation == Activation::relu) {
    for (Index c = 0; c < y.cols(); ++c) y.col(c) = (y.col(c) + bias.col(0)).cwiseMax(S(0));
  } else {
    for (Index c = 0; c < y.cols(); ++c) y.col(c) += bias.col(0);
  }
}

/// The gradient before the activation, in place: dy *= activation'(z), where y = activation(z).
/// `scale` is dropout's factor: with ReLU a value that was dropped is 0, as one that was cut off.
template <class S, class Y, class DY>
void activation_backward(Activation activation, S scale, const Y& y, DY&& dy) {
  if (activation == Activation::identity) return;
  for (Index c = 0; c < dy.cols(); ++c)
    dy.col(c).array() *= (y.col(c).array() > S(0)).template cast<S>() * scale;
}

/// gradient(:, units) += x dz^T and bias gradient, for a slice of the output units.
template <class S, class X, class DZ>
void affine_accumulate(const X& x, const DZ& dz, Index first_unit, Index num_units,
                       Matrix<S>& weight_gradient, Matrix<S>& bias_gradient) {
  if (dz.cols() == 0) return;
  const auto slice = dz.middleRows(first_unit, num_units);
  product<true>(weight_gradient.middleCols(first_unit, num_units), x, slice.transpose());
  auto bias = bias_gradient.col(0).segment(first_unit, num_units);
  for (Index c = 0; c < slice.cols(); ++c) bias += slice.col(c);
}

/// Output units per slice of a weight gradient. A multiple of 4 keeps Eigen's kernel full; the
/// size is fixed because it decides the order of sums and so the bits.
inline constexpr Index units_per_slice = 128;

inline Index num_slices(Index out) { return (out + units_per_slice - 1) / units_per_slice; }

}  // namespace detail

}  // namespace comet
