// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/dropout.hpp>

namespace comet {

/// \brief Dropout (Srivastava et al., JMLR 2014): zeroes values with probability `rate` and scales
/// the others by 1 / (1 - rate), in training. Inference leaves it out.
///
/// What is dropped is a function of (key, sample, row), so the pass keeps nothing but the key:
/// backward() asks it again. The rate is rounded to a multiple of 2^-16.
///
/// \par Cost     one random number per 4 values
/// \par Threads  const
/// \tparam S     float or double
template <class S>
class Dropout {
 public:
  using Scalar = S;  ///< float or double.

  /// Scratch of a pass.
  class Workspace {
    friend class Dropout;
    std::optional<RandomKey> key_;  // of the forward() that backward() may follow
    Buffer<S> column_;
  };

  /// \param rate  in [0, 1)
  /// \throws std::invalid_argument if the rate is outside its bounds
  explicit Dropout(double rate) : rate_(rate), dropout_((check(rate), rate)) {}

  /// Share of the entries that are dropped.
  [[nodiscard]] double rate() const noexcept { return rate_; }

  /// \brief y = x. \param x, y  m x B; may be the same matrix
  /// \throws std::invalid_argument if the shapes differ
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<Dropout>& /*pass*/) const {
    check_shape("Dropout::predict", "y", y, x);
    copy(x, y);
  }
  /// \brief y = x with values dropped. \param key  of this step and place
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey key,
               Pass<Dropout>& pass) const {
    check_shape("Dropout::forward", "y", y, x);
    copy(x, y);
    pass.workspace.key_ = key;
    if (!dropout_.active()) return;
    for (Index b = 0; b < y.cols(); ++b)
      dropout_.apply(key.fold(std::uint64_t(b)), y.col(b).data(), y.rows());
  }

  /// \brief Adds the gradient of sum(dy . y).
  /// \param x, y  as in forward(): only their shape is looked at
  /// \param dy    m x B
  /// \param dx    m x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward(), or a shape does not fit
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<Dropout>& pass) const {
    constexpr const char* where = "Dropout::backward";
    if (!pass.workspace.key_) detail::raise(where, "the pass holds no forward(); call it first");
    check_shape(where, "y", y, x);
    check_shape(where, "dy", dy, x);
    detail::check_input_gradient(where, dx, x);
    detail::check_apart(where, "dx", dx, "dy", dy);
    if (dx.size() == 0) return;
    auto column = pass.workspace.column_.shape(dy.rows(), 1);
    for (Index b = 0; b < dy.cols(); ++b) {
      column = dy.col(b);
      if (dropout_.active())
        dropout_.apply(pass.workspace.key_->fold(std::uint64_t(b)), column.data(), column.rows());
      dx.col(b) += column;
    }
  }

 private:
  static void check(double rate) { detail::check_rate("Dropout", "rate", rate); }

  template <class Y>
  static void check_shape(std::string_view where, const std::string& name, const Y& y,
                          const ConstMatrixView<S>& x) {
    detail::check_equal(where, name + ".rows()", y.rows(), "x.rows()", x.rows());
    detail::check_equal(where, name + ".cols()", y.cols(), "x.cols()", x.cols());
  }

  static void copy(const ConstMatrixView<S>& x, MatrixView<S>& y) {
    if (y.data() != x.data()) y = x;
  }

  double rate_;
  detail::Dropout dropout_;
};

}  // namespace comet
