// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <utility>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/losses/detail/same_shape.hpp>

namespace comet {

namespace detail {

/// \param is_observed  callable: whether an element counts
template <class S, class IsObserved>
double mean_squared_error(const ConstMatrixView<S>& predictions, const ConstMatrixView<S>& targets,
                          IsObserved is_observed, MatrixView<S> gradient) {
  constexpr const char* where = "mean_squared_error";
  check_same_shape(where, "targets", targets, "predictions", predictions);
  const bool wants_gradient = gradient.size() > 0;
  if (wants_gradient) check_same_shape(where, "gradient", gradient, "predictions", predictions);
  double sum = 0;
  Index count = 0;
  for (Index c = 0; c < predictions.cols(); ++c)
    for (Index r = 0; r < predictions.rows(); ++r) {
      const bool counts = is_observed(r, c);
      const S error = counts ? predictions(r, c) - targets(r, c) : S(0);
      sum += double(error * error);
      count += Index(counts);
      if (wants_gradient) gradient(r, c) = error;
    }
  if (!std::isfinite(sum)) [[unlikely]] {
    check_finite(where, "predictions", predictions);
    check_finite(where, "targets", targets);
    raise_not_finite(where, "the loss", "overflows");
  }
  if (count == 0) return 0;
  if (wants_gradient) gradient *= S(2) / S(count);
  return sum / double(count);
}

}  // namespace detail

/// \brief Mean squared error.
///
///     L = 1/N sum (p - t)^2,   dL/dp = 2 (p - t) / N
///
/// \param predictions  any shape, N elements
/// \param targets      same shape
/// \param gradient     same shape, overwritten by dL/dp; or no_gradient
/// \return L, summed in double; 0 if N is 0
/// \throws std::invalid_argument if shapes differ
/// \throws NotFinite naming the first number that is not finite, or if the loss overflows
template <class Predictions>
double mean_squared_error(const Eigen::DenseBase<Predictions>& predictions,
                          const ConstMatrixView<typename Predictions::Scalar>& targets,
                          MatrixView<typename Predictions::Scalar> gradient) {
  using S = typename Predictions::Scalar;
  return detail::mean_squared_error<S>(
      predictions, targets, [](Index, Index) { return true; }, std::move(gradient));
}

/// \brief The same over the elements that are observed; dL/dp is 0 elsewhere, where the numbers may
/// be anything.
/// \param observed  same shape: 1 counts, 0 is masked; N is the number of ones
/// \throws std::invalid_argument naming the first element of observed that is neither
template <class Predictions>
double mean_squared_error(const Eigen::DenseBase<Predictions>& predictions,
                          const ConstMatrixView<typename Predictions::Scalar>& targets,
                          const ConstMatrixView<typename Predictions::Scalar>& observed,
                          MatrixView<typename Predictions::Scalar> gradient) {
  using S = typename Predictions::Scalar;
  constexpr const char* where = "mean_squared_error";
  detail::check_same_shape(where, "observed", observed, "predictions", predictions);
  const auto is_observed = [&](Index r, Index c) {
    const S value = observed(r, c);
    if (value != S(0) && value != S(1)) [[unlikely]]
      detail::raise(where, "observed(" + std::to_string(r) + ", " + std::to_string(c) + ")", value,
                    "0 or 1");
    return value == S(1);
  };
  return detail::mean_squared_error<S>(predictions, targets, is_observed, std::move(gradient));
}

}  // namespace comet
