// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/affine.hpp>

namespace comet {

/// \brief Dropout (Srivastava et al., JMLR 2014): zeroes values with probability `rate` and scales
/// the others by 1 / (1 - rate), in training. Inference leaves it out.
///
/// What is dropped is a function of (key, sample, row), so nothing is kept between the passes:
/// backward() asks the key again. The rate is rounded to a multiple of 2^-16.
///
/// \par Cost     one random number per 4 values
/// \par Threads  const
/// \tparam S     float or double
template <class S>
class Dropout {
 public:
  using Scalar = S;  ///< float or double.

  /// \param rate  in [0, 1)
  /// \throws std::invalid_argument if the rate is outside its bounds
  explicit Dropout(double rate) : rate_(rate), dropout_((check(rate), rate)) {}

  /// Share of the entries that are dropped.
  [[nodiscard]] double rate() const noexcept { return rate_; }

  /// \brief Drops values in place. \param y  any m x B    \param key  of this step and place
  void forward(MatrixView<S> y, RandomKey key) const {
    if (!dropout_.active()) return;
    for (Index b = 0; b < y.cols(); ++b)
      dropout_.apply(key.fold(std::uint64_t(b)), y.col(b).data(), y.rows());
  }

  /// \brief The derivative by the input from that by the output, in place.
  /// \param dy  m x B    \param key  as in forward()
  void backward(MatrixView<S> dy, RandomKey key) const { forward(dy, key); }

 private:
  static void check(double rate) { detail::check_rate("Dropout", "rate", rate); }

  double rate_;
  detail::Dropout dropout_;
};

}  // namespace comet
