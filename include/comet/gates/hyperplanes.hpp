// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/dots.hpp>

namespace comet {

/// \brief A bank of affine functions h(x) = w_h . x + c_h: what every gate in this library learns.
///
/// One hyperplane per column, so that evaluating a few of them touches only their memory.
template <class S>
class Hyperplanes {
 public:
  /// Whether the functions have a constant c_h.
  enum class Offsets { trained, none };

  /// None.
  Hyperplanes() = default;
  /// Zeros.
  Hyperplanes(Index input_dim, Index count, Offsets offsets = Offsets::trained)
      : weight_(input_dim, count) {
    if (offsets == Offsets::trained) bias_ = Parameter<S>({count});
  }

  /// Weights and biases uniform in +-bound.
  void initialize(double bound, RandomKey key) {
    key.fold(0).fill_uniform(weight_, -bound, bound);
    key.fold(1).fill_uniform(bias_, -bound, bound);
  }

  /// Weights normal with a standard deviation, biases 0.
  void initialize_normal(double deviation, RandomKey key) {
    std::uint64_t counter = 0;
    for (Index i = 0; i < weight_.size(); ++i)
      weight_.data()[i] = S(deviation * key.fold(0).normal(counter++));
    bias_.setZero();
  }
  /// Sets one function of a bank that has constants.
  void set(Index h, const Vector<double>& weight, double bias) {
    weight_.col(h) = weight.template cast<S>();
    bias_(h, 0) = S(bias);
  }

  /// Number of features d.
  [[nodiscard]] Index input_dim() const noexcept { return weight_.rows(); }
  /// Number of functions H.
  [[nodiscard]] Index size() const noexcept { return weight_.cols(); }
  /// d x H: one function per column.
  [[nodiscard]] const Matrix<S>& weight() const noexcept { return weight_; }
  /// H x 1, or empty.
  [[nodiscard]] const Matrix<S>& bias() const noexcept { return bias_; }
  /// Whether there is a c_h.
  [[nodiscard]] bool has_bias() const noexcept { return bias_.size() > 0; }
  /// The d weights of one function.
  [[nodiscard]] const S* column(Index h) const { return weight_.col(h).data(); }

  /// \brief out[i * out_stride] = w_h . x[i] + c_h for `count` samples; the same bits for any
  /// count.
  void logits(Index h, const S* const* x, Index count, S* out, Index out_stride = 1) const {
    detail::dots(column(h), input_dim(), x, count, has_bias() ? bias_(h, 0) : S(0), out,
                 out_stride);
  }
  /// \brief w_h . x + c_h of one sample, the same bits.
  [[nodiscard]] S logit(Index h, const S* x) const {
    S result;
    logits(h, &x, 1, &result);
    return result;
  }

  /// Calls f(name, parameter) for weight and, where there is one, bias.
  template <class F>
  void visit(F&& f) const {
    f("weight", weight_);
    if (has_bias()) f("bias", bias_);
  }

 private:
  Parameter<S> weight_;  // d x H
  Parameter<S> bias_;    // H x 1
};

}  // namespace comet
