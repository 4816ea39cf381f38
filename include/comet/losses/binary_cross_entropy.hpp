// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/losses/detail/same_shape.hpp>

namespace comet {

/// \brief Mean binary cross-entropy of logits z against targets t in [0, 1], in nats.
///
///     L = 1/N sum max(z, 0) - z t + log(1 + exp(-|z|)),   dL/dz = (sigmoid(z) - t) / N
///
/// \param logits    any shape, N elements
/// \param targets   same shape
/// \param gradient  same shape, overwritten by dL/dz; or no_gradient
/// \return L, summed in double; 0 if N is 0
/// \throws std::invalid_argument if shapes differ, naming the first target outside [0, 1]
/// \throws NotFinite naming the first number that is not finite, or if the loss overflows
template <class Logits>
double binary_cross_entropy(const Eigen::DenseBase<Logits>& logits,
                            const ConstMatrixView<typename Logits::Scalar>& targets,
                            MatrixView<typename Logits::Scalar> gradient) {
  using S = typename Logits::Scalar;
  constexpr const char* where = "binary_cross_entropy";
  const ConstMatrixView<S> z(logits);
  detail::check_same_shape(where, "targets", targets, "logits", z);
  const bool wants_gradient = gradient.size() > 0;
  if (wants_gradient) detail::check_same_shape(where, "gradient", gradient, "logits", z);
  if (z.size() == 0) return 0;
  const S scale = S(1) / S(z.size());
  double sum = 0;
  for (Index c = 0; c < z.cols(); ++c)
    for (Index r = 0; r < z.rows(); ++r) {
      const S t = targets(r, c);
      if (!(t >= S(0) && t <= S(1))) [[unlikely]] {
        detail::check_finite<S>(where, "targets", targets);
        detail::raise(where, "targets(" + std::to_string(r) + ", " + std::to_string(c) + ")", t,
                      "in [0, 1]");
      }
      sum += double(softplus(z(r, c)) - z(r, c) * t);
      if (wants_gradient) gradient(r, c) = (sigmoid(z(r, c)) - t) * scale;
    }
  if (!std::isfinite(sum)) [[unlikely]] {
    detail::check_finite<S>(where, "logits", z);
    detail::raise_not_finite(where, "the loss", "overflows");
  }
  return sum / double(z.size());
}

}  // namespace comet
