// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>

namespace comet {

/// \brief Mean binary cross-entropy of logits z against targets t in [0, 1], in nats.
///
///     L = 1/N sum max(z, 0) - z t + log(1 + exp(-|z|)),   dL/dz = (sigmoid(z) - t) / N
///
/// \param logits, targets  any shape, N elements
/// \param gradient         same shape, overwritten by dL/dz
/// \return L; 0 if N is 0
/// \throws std::invalid_argument if shapes differ or the loss is not finite
template <class S>
S binary_cross_entropy(const ConstMatrixView<S>& logits,
                       const ConstMatrixView<std::type_identity_t<S>>& targets,
                       MatrixView<std::type_identity_t<S>> gradient) {
  constexpr const char* where = "binary_cross_entropy";
  detail::check_equal(where, "targets.rows()", targets.rows(), "logits.rows()", logits.rows());
  detail::check_equal(where, "targets.cols()", targets.cols(), "logits.cols()", logits.cols());
  detail::check_equal(where, "gradient.rows()", gradient.rows(), "logits.rows()", logits.rows());
  detail::check_equal(where, "gradient.cols()", gradient.cols(), "logits.cols()", logits.cols());
  if (logits.size() == 0) return S(0);
  const S scale = S(1) / S(logits.size());
  S sum = 0;
  for (Index c = 0; c < logits.cols(); ++c)
    for (Index r = 0; r < logits.rows(); ++r) {
      const S z = logits(r, c);
      sum += softplus(z) - z * targets(r, c);
      gradient(r, c) = (sigmoid(z) - targets(r, c)) * scale;
    }
  if (!std::isfinite(sum)) [[unlikely]] {
    detail::check_finite(where, "logits", logits);
    detail::check_finite<S>(where, "targets", targets);
    detail::raise(where, "the loss overflows");
  }
  return sum * scale;
}

}  // namespace comet
