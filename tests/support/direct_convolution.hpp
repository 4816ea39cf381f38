// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/layers/convolution_2d.hpp>

namespace comet::test {

/// \brief A convolution as its formula says it, and its gradients: one number at a time.
template <class S>
struct DirectConvolution {
  const Convolution2d<S>& layer;
  const Convolution2dOptions& o = layer.options();

  /// f(value of y, value of w, value of x, c) by their places, for whatever is not padding.
  template <class F>
  void for_each_product(F&& f) const {
    const auto before = [&](Index size, Index kernel, Index positions) {
      return o.padding == Padding::same
                 ? std::max(Index(0), (positions - 1) * o.stride + kernel - size) / 2
                 : Index(0);
    };
    const Index top = before(o.height, o.kernel_height, layer.output_height());
    const Index left = before(o.width, o.kernel_width, layer.output_width());
    for (Index i = 0; i < layer.output_height(); ++i)
      for (Index j = 0; j < layer.output_width(); ++j)
        for (Index filter = 0; filter < o.filters; ++filter)
          for (Index u = 0; u < o.kernel_height; ++u)
            for (Index v = 0; v < o.kernel_width; ++v) {
              const Index row = i * o.stride + u - top, column = j * o.stride + v - left;
              if (row < 0 || row >= o.height || column < 0 || column >= o.width) continue;
              for (Index c = 0; c < o.channels; ++c)
                f((i * layer.output_width() + j) * o.filters + filter,
                  ((filter * o.kernel_height + u) * o.kernel_width + v) * o.channels + c,
                  (row * o.width + column) * o.channels + c);
            }
  }

  /// Before the activation.
  [[nodiscard]] Matrix<S> forward(const Matrix<S>& x) const {
    Matrix<S> z(layer.output_dim(), x.cols());
    for (Index i = 0; i < z.rows(); ++i) z.row(i).setConstant(layer.bias()(i % o.filters));
    for_each_product(
        [&](Index y, Index w, Index at) { z.row(y) += layer.weight().data()[w] * x.row(at); });
    return z;
  }
  [[nodiscard]] Matrix<S> input_gradient(const Matrix<S>& dz) const {
    Matrix<S> dx = Matrix<S>::Zero(layer.input_dim(), dz.cols());
    for_each_product(
        [&](Index y, Index w, Index at) { dx.row(at) += layer.weight().data()[w] * dz.row(y); });
    return dx;
  }
  [[nodiscard]] Matrix<S> weight_gradient(const Matrix<S>& x, const Matrix<S>& dz) const {
    Matrix<S> dw = Matrix<S>::Zero(layer.weight().rows(), layer.weight().cols());
    for_each_product([&](Index y, Index w, Index at) {
      dw.data()[w] += (dz.row(y).array() * x.row(at).array()).sum();
    });
    return dw;
  }
  [[nodiscard]] Matrix<S> bias_gradient(const Matrix<S>& dz) const {
    Matrix<S> db = Matrix<S>::Zero(o.filters, 1);
    for (Index i = 0; i < dz.rows(); ++i) db(i % o.filters) += dz.row(i).sum();
    return db;
  }
};

}  // namespace comet::test
