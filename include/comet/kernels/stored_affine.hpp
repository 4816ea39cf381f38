// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/affine.hpp>
#include <comet/kernels/stored_product.hpp>

namespace comet::detail {

/// An affine map with activation that only predicts, its weights kept as the storage says: what
/// frozen experts are made of.
template <class S>
class StoredAffine {
 public:
  /// \param weight  d x m    \param bias  m x 1
  StoredAffine(const Matrix<S>& weight, const Matrix<S>& bias, Activation activation,
               Storage storage)
      : input_dim_(weight.rows()),
        output_dim_(weight.cols()),
        activation_(activation),
        bias_(kept<S>(bias, {bias.rows()})) {
    constexpr std::string_view where = "freeze";
    check_finite<S>(where, "weight", weight);
    check_finite<S>(where, "bias", bias);
    const std::initializer_list<Index> shape = {weight.cols(), weight.rows()};
    switch (storage) {
      case Storage::full:
        weight_ = kept<S>(weight, shape);
        break;
      case Storage::bf16:
        weight_ = kept<Bfloat16>(weight.template cast<float>().template cast<Bfloat16>(), shape);
        check_finite<float>(
            where, "weight as bfloat16",
            Matrix<float>(std::get<Parameter<Bfloat16>>(weight_).template cast<float>()));
        break;
      case Storage::int8:
        quantize(weight);
        break;
    }
  }

  [[nodiscard]] Index input_dim() const { return input_dim_; }    // d
  [[nodiscard]] Index output_dim() const { return output_dim_; }  // m
  [[nodiscard]] Activation activation() const { return activation_; }
  [[nodiscard]] Storage storage() const { return Storage(weight_.index()); }
  [[nodiscard]] const Matrix<S>& bias() const { return bias_; }
  /// One per output with Storage::int8, none else.
  [[nodiscard]] const Matrix<S>& scale() const { return scale_; }
  /// Calls f(weights), a Parameter of what they are kept as.
  template <class F>
  decltype(auto) with_weight(F&& f) const {
    return std::visit(f, weight_);
  }

  /// y = activation(weight^T x + bias). \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y) const {
    with_weight([&]<class W>(const Parameter<W>& weight) {
      if constexpr (std::is_same_v<W, S>) {
        affine_forward(weight, bias_, activation_, x, y);
      } else {
        if constexpr (std::is_same_v<W, Bfloat16>)
          stored_product<Bfloat16Operand<S>, S>(weight, x, y);
        else
          scaled_integer_product<S>(weight, scale_, x, y);
        add_bias_and_activate<S>(bias_, activation_, y, no_gradient);
      }
    });
  }

  /// Calls f(name, parameter) for weight, scale with Storage::int8, and bias.
  template <class F>
  void visit(F&& f) const {
    with_weight([&](const auto& weight) { f("weight", weight); });
    if (scale_.size() > 0) f("scale", scale_);
    f("bias", bias_);
  }

 private:
  template <class W, class Values>
  static Parameter<W> kept(const Values& values, std::initializer_list<Index> shape) {
    Parameter<W> parameter(shape);
    parameter = values;
    return parameter;
  }

  /// The largest weight of an output is 127 scales, so that none is cut off.
  void quantize(const Matrix<S>& weight) {
    constexpr S most = 127;
    Parameter<std::int8_t> numbers(weight.rows(), weight.cols());
    scale_ = Parameter<S>({weight.cols()});
    for (Index u = 0; u < weight.cols(); ++u) {
      const S largest = weight.col(u).cwiseAbs().maxCoeff();
      // Of weights that are as good as 0 the scale would be.
      const S scale = largest / most >= std::numeric_limits<S>::min() ? largest / most : S(1);
      scale_(u) = scale;
      for (Index i = 0; i < weight.rows(); ++i)
        numbers(i, u) = std::int8_t(std::clamp(std::nearbyint(weight(i, u) / scale), -most, most));
    }
    weight_ = std::move(numbers);
  }

  Index input_dim_;
  Index output_dim_;
  Activation activation_;
  std::variant<Parameter<S>, Parameter<Bfloat16>, Parameter<std::int8_t>> weight_;  // by Storage
  Parameter<S> scale_;  // m with Storage::int8
  Parameter<S> bias_;   // m
};

}  // namespace comet::detail
