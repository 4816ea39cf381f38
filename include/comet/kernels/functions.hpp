// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <comet/core/types.hpp>
#include <comet/kernels/portable/arithmetic.hpp>

/// \file
/// \brief Scalar functions and their derivatives, shared by gates and losses.

namespace comet {

/// \brief Smooth-step: 0 below -gamma/2, 1 above gamma/2, a cubic between; C1 everywhere.
///
/// S(t) = -2 t^3 / gamma^3 + 3 t / (2 gamma) + 1/2     (Hazimeh et al., DSelect-k, Eq. (4))
///
/// computed as v^2 (3 - 2 v) from the nearer end, where v is the distance to it over gamma: the
/// same cubic without the cancellation that costs digits next to 0 and 1.
template <class S>
[[nodiscard]] S smooth_step(S t, S gamma) {
  return portable::smooth_step(t, gamma);
}

/// \brief S'(t): exactly 0 outside (-gamma/2, gamma/2).
template <class S>
[[nodiscard]] S smooth_step_derivative(S t, S gamma) {
  const S half = gamma / S(2);
  if (t <= -half || t >= half) return S(0);
  const S u = t / gamma;
  return S(6) * (S(0.5) - u) * (S(0.5) + u) / gamma;
}

/// \brief 1 / (1 + exp(-t)) without overflow.
template <class S>
[[nodiscard]] S sigmoid(S t) {
  if (t >= S(0)) return S(1) / (S(1) + std::exp(-t));
  const S e = std::exp(t);
  return e / (S(1) + e);
}

/// \brief log(1 + exp(t)) without overflow; its derivative is sigmoid(t).
template <class S>
[[nodiscard]] S softplus(S t) {
  return std::max(t, S(0)) + std::log1p(std::exp(-std::abs(t)));
}

/// Inside the logarithm of every entropy here, so that 0 log 0 is 0 and its derivative finite.
inline constexpr double entropy_epsilon = 1e-6;

/// \brief -p log(p + 1e-6), in nats.
template <class S>
[[nodiscard]] S entropy_term(S p) {
  return -p * std::log(p + S(entropy_epsilon));
}

/// \brief Derivative of entropy_term.
template <class S>
[[nodiscard]] S entropy_term_derivative(S p) {
  const S q = p + S(entropy_epsilon);
  return -std::log(q) - p / q;
}

}  // namespace comet
