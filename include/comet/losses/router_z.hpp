// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/balance.hpp>
#include <comet/losses/detail/same_shape.hpp>

namespace comet {

/// \brief Router z-loss: keeps a gate's logits small (Zoph et al., ST-MoE, 2022, Eq. (5)).
///
///     L = 1/B sum_b z_b^2,   z_b = log sum_i exp(h(i, b)),   dL/dh(i, b) = 2 z_b / B softmax(h)_i
///
/// \param logits    h, n x B: the gate's logits for all experts
/// \param gradient  n x B, overwritten by dL/dh; or no_gradient
/// \return L, summed in double; 0 if there are no logits
/// \throws std::invalid_argument if shapes differ
/// \throws NotFinite if L, as a number of type S, is not finite
/// \see TopKGateOptions::router_z, which adds it to a gate's regularization
template <class Logits>
double router_z(const Eigen::DenseBase<Logits>& logits,
                MatrixView<typename Logits::Scalar> gradient) {
  using S = typename Logits::Scalar;
  constexpr const char* where = "router_z";
  if (gradient.size() > 0) detail::check_same_shape(where, "gradient", gradient, "logits", logits);
  const double loss = detail::router_z<S>(logits, gradient);
  if (!std::isfinite(S(loss))) [[unlikely]] {
    detail::check_finite<S>(where, "logits", logits);
    detail::raise_not_finite(where, "the loss", "overflows");
  }
  return loss;
}

}  // namespace comet
