// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief Mean squared error over the observed elements.
///
///     L = 1/M sum_{observed} (p - t)^2,   dL/dp = 2 (p - t) / M where observed, 0 elsewhere
///
/// \param predictions, targets  any shape
/// \param observed              same shape: 1 counts, 0 is masked; M is the number of ones
/// \param gradient              same shape, overwritten by dL/dp
/// \return L; 0 if nothing is observed
/// \throws std::invalid_argument if shapes differ or the loss is not finite
template <class S>
S mean_squared_error(const ConstMatrixView<S>& predictions,
                     const ConstMatrixView<std::type_identity_t<S>>& targets,
                     const ConstMatrixView<std::type_identity_t<S>>& observed,
                     MatrixView<std::type_identity_t<S>> gradient) {
  constexpr const char* where = "mean_squared_error";
  const auto check_shape = [&](std::string_view rows_name, std::string_view cols_name,
                               const auto& matrix) {
    detail::check_equal(where, rows_name, matrix.rows(), "predictions.rows()", predictions.rows());
    detail::check_equal(where, cols_name, matrix.cols(), "predictions.cols()", predictions.cols());
  };
  check_shape("targets.rows()", "targets.cols()", targets);
  check_shape("observed.rows()", "observed.cols()", observed);
  check_shape("gradient.rows()", "gradient.cols()", gradient);
  S sum = 0;
  S count = 0;
  for (Index c = 0; c < predictions.cols(); ++c)
    for (Index r = 0; r < predictions.rows(); ++r) {
      const bool counts = observed(r, c) != S(0);
      const S error = counts ? predictions(r, c) - targets(r, c) : S(0);
      sum += error * error;
      count += S(counts);
      gradient(r, c) = error;
    }
  if (!std::isfinite(sum)) [[unlikely]] {
    detail::check_finite(where, "predictions", predictions);
    detail::check_finite<S>(where, "targets", targets);
    detail::raise(where, "the loss overflows");
  }
  if (count == S(0)) return S(0);
  gradient *= S(2) / count;
  return sum / count;
}

}  // namespace comet
