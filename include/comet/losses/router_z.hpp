// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet {

/// \brief Router z-loss: keeps a gate's logits small (Zoph et al., ST-MoE, 2022, Eq. (5)).
///
///     L = 1/B sum_b z_b^2,   z_b = log sum_i exp(h(i, b)),   dL/dh(i, b) = 2 z_b / B softmax(h)_i
///
/// \param logits    h, n x B: the gate's logits for all experts
/// \param gradient  n x B, overwritten by dL/dh
/// \return L; 0 if there are no logits
/// \throws std::invalid_argument if shapes differ, or L is not finite
/// \see TopKGateOptions::router_z, which adds it to a gate's regularization
template <class S>
S router_z(const ConstMatrixView<S>& logits, MatrixView<std::type_identity_t<S>> gradient) {
  constexpr const char* where = "router_z";
  detail::check_equal(where, "gradient.rows()", gradient.rows(), "logits.rows()", logits.rows());
  detail::check_equal(where, "gradient.cols()", gradient.cols(), "logits.cols()", logits.cols());
  if (logits.size() == 0) return S(0);
  const S scale = S(1) / S(logits.cols());
  S sum = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    const S z = detail::softmax(logits.col(b).data(), logits.rows(), gradient.col(b).data());
    gradient.col(b) *= S(2) * z * scale;
    sum += z * z;
  }
  if (!std::isfinite(sum)) [[unlikely]] {
    detail::check_finite(where, "logits", logits);
    detail::raise(where, "the loss overflows");
  }
  return sum * scale;
}

}  // namespace comet
