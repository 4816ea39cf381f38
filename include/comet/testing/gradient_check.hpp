// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet::testing {

/// What a comparison of gradients with differences found.
struct GradientCheckResult {
  /// largest |analytic - numeric| / max(1, |analytic|, |numeric|), infinite if one is nan
  double largest_error = 0;
  std::string where;      ///< the element with that error, e.g. "gates.0.split.weight(3, 1)"
  double analytic = 0;    ///< its two derivatives
  double numeric = 0;     ///< By differences, where they disagree most.
  Index num_checked = 0;  ///< Values that were compared.
};

/// \brief Compares analytic gradients with central differences, for every parameter of a model.
///
/// The step is cbrt(epsilon) * max(1, |p|), the best trade of truncation against rounding for
/// central differences. Use double, and keep away from kinks (ReLU at 0, ties of a selection).
///
/// \code
///   Pass pass(layer);
///   const auto result = check_gradients(
///       layer, [&] { layer.forward(x, y, key, pass); return y.sum(); },
///       [&](GradientView<double> gradients) {
///         pass.borrow(gradients);
///         layer.forward(x, y, key, pass);
///         layer.backward(x, Matrix<double>::Ones(m, B), no_gradient, pass);
///       });
/// \endcode
/// \param model     Parametric; left as it was
/// \param loss      callable without arguments, the loss at the current parameters; no randomness
/// \param backward  callable with a GradientView of the model's tensors, zeros: adds to them
/// \par Cost     2 losses per parameter
template <class Model, class Loss, class Backward>
GradientCheckResult check_gradients(Model& model, Loss loss, Backward backward) {
  using S = typename Model::Scalar;
  Gradients<S> gradients(model);
  backward(gradients.view());
  GradientCheckResult result;
  Index tensor = 0;
  for_each_parameter(model, [&](const ParameterName& name, auto& values) {
    const auto gradient = gradients[tensor++];
    for (Index c = 0; c < values.cols(); ++c)
      for (Index r = 0; r < values.rows(); ++r) {
        const S value = values(r, c);
        const S step =
            std::cbrt(std::numeric_limits<S>::epsilon()) * std::max(S(1), std::abs(value));
        values(r, c) = value + step;
        const double above = double(loss());
        values(r, c) = value - step;
        const double below = double(loss());
        values(r, c) = value;
        const double numeric = (above - below) / (2 * double(step));
        const double analytic = double(gradient(r, c));
        double error =
            std::abs(analytic - numeric) / std::max({1.0, std::abs(analytic), std::abs(numeric)});
        if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
        ++result.num_checked;
        if (error > result.largest_error) {
          result.largest_error = error;
          result.where = name.str() + "(" + std::to_string(r) + ", " + std::to_string(c) + ")";
          result.analytic = analytic;
          result.numeric = numeric;
        }
      }
  });
  return result;
}

}  // namespace comet::testing
