// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/kernels/affine.hpp>
#include <comet/kernels/product.hpp>

/// \file
/// \brief What dense layers and feed-forward experts are made of.

namespace comet::detail {

/// y = activation(W^T x + b), with the weights and the way back.
/// \tparam S  float or double
template <class S>
class AffineMap {
 public:
  /// Weights uniform in +-sqrt(6 / (d + m)) (Glorot and Bengio, 2010), bias 0.
  AffineMap(Index input_dim, Index output_dim, Activation activation, RandomKey key)
      : activation_(activation), weight_(input_dim, output_dim), bias_({output_dim}) {
    const double bound = std::sqrt(6.0 / double(input_dim + output_dim));
    key.fill_uniform(weight_, -bound, bound);
  }

  [[nodiscard]] Index input_dim() const noexcept { return weight_.rows(); }
  [[nodiscard]] Index output_dim() const noexcept { return weight_.cols(); }
  /// Multiply-adds of a column: d m.
  [[nodiscard]] double cost() const noexcept { return double(input_dim()) * double(output_dim()); }
  [[nodiscard]] Activation activation() const noexcept { return activation_; }
  [[nodiscard]] bool keeps_slope() const noexcept { return detail::keeps_slope(activation_); }
  [[nodiscard]] const Parameter<S>& weight() const noexcept { return weight_; }  // d x m
  [[nodiscard]] const Parameter<S>& bias() const noexcept { return bias_; }      // m

  /// \param slope  m x width, as of affine_forward(); or no_gradient
  template <class X, class Y>
  void forward(const X& x, Y&& y, MatrixView<S> slope = no_gradient) const {
    affine_forward(weight_, bias_, activation_, x, y, slope);
  }

  /// Turns dy into dz, the gradient before the activation, in place.
  /// \param slope    as forward() left it, if keeps_slope()
  /// \param dropout  the factor of what was kept of y; it is in the slope already
  template <class Y, class Slope, class DY>
  void back_through_activation(const Y& y, const Slope& slope, S dropout, DY&& dy) const {
    if (keeps_slope()) {
      dy.array() *= slope.array();
    } else {
      activation_backward(activation_, dropout, y, dy);
    }
  }

  /// dx += W dz, unless dx is no_gradient.
  template <class DZ>
  void back_to_input(const DZ& dz, MatrixView<S> dx) const {
    if (dx.size() > 0) product<true>(dx, weight_, dz);
  }

  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const { return detail::num_slices(output_dim()); }

  /// Adds one of them. \param gradients  by weight and bias
  template <class X, class DZ>
  void accumulate(const X& x, const DZ& dz, Index slice, GradientView<S> gradients) const {
    const Index first = slice * units_per_slice;
    affine_accumulate(x, dz, first, std::min(units_per_slice, output_dim() - first), gradients[0],
                      gradients[1]);
  }

  template <class F>
  void visit(F&& f) const {
    f("weight", weight_);
    f("bias", bias_);
  }

 private:
  Activation activation_;
  Parameter<S> weight_;
  Parameter<S> bias_;
};

}  // namespace comet::detail
