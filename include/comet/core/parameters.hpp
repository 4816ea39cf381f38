// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include <comet/core/types.hpp>

/// \file
/// \brief The one hook by which optimizers, files, gradient checks and counters see a model.
///
/// A model offers `visit_parameters(f)` and calls `f(name, values, gradients)` once per tensor,
/// always in the same order. Everything that keeps state about parameters keeps it by that order
/// and checks the sizes; nothing is ever looked up by address, so models can be copied and moved.

namespace comet {

/// \brief Dotted name of a tensor (`experts.3.weight`), built without allocation.
///
/// A link points to the rest of the name on the caller's stack: keep the `str()`, not the object.
class ParameterName {
 public:
  /// A name by itself.
  ParameterName(const char* leaf) noexcept : part_(leaf) {}  // NOLINT: f("weight", ...)
  /// A name by itself.
  ParameterName(std::string_view leaf) noexcept : part_(leaf) {}  // NOLINT
  /// `group.rest`.
  ParameterName(std::string_view group, const ParameterName& rest) noexcept
      : part_(group), rest_(&rest) {}
  /// `group.number.rest`.
  ParameterName(std::string_view group, Index number, const ParameterName& rest) noexcept
      : part_(group), number_(number), rest_(&rest) {}

  /// The whole name.
  [[nodiscard]] std::string str() const {
    std::string text(part_);
    if (number_ >= 0) text += '.' + std::to_string(number_);
    if (rest_ != nullptr) text += '.' + rest_->str();
    return text;
  }

 private:
  std::string_view part_;
  Index number_ = -1;
  const ParameterName* rest_ = nullptr;
};

/// \brief Values of a tensor and the gradient that backward passes add to.
template <class S>
struct Parameter {
  static_assert(std::floating_point<S>, "comet: the scalar type is float or double");

  Matrix<S> values;     ///< What is trained.
  Matrix<S> gradients;  ///< Same shape; backward passes add to it.

  Parameter() = default;
  /// Zeros. \param rows, cols  of values and gradients alike
  Parameter(Index rows, Index cols)
      : values(Matrix<S>::Zero(rows, cols)), gradients(Matrix<S>::Zero(rows, cols)) {}

  /// Calls f(name, values, gradients).
  template <class F>
  void visit(const ParameterName& name, F&& f) {
    f(name, values, gradients);
  }
};

/// \brief Visits the parameters of a part under the name `group`.
template <class Part, class F>
void visit_part(std::string_view group, Part& part, F&& f) {
  part.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
    f(ParameterName(group, name), values, gradients);
  });
}

/// \brief Visits the parameters of numbered parts under `group.0`, `group.1`, ...
template <class Parts, class F>
void visit_parts(std::string_view group, Parts& parts, F&& f) {
  Index number = 0;
  for (auto& part : parts) {
    part.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
      f(ParameterName(group, number, name), values, gradients);
    });
    ++number;
  }
}

/// \brief Number of trainable values of a model.
template <class Model>
[[nodiscard]] Index count_parameters(Model& model) {
  Index count = 0;
  model.visit_parameters(
      [&](const ParameterName&, auto& values, auto&) { count += values.size(); });
  return count;
}

/// \brief Sets every gradient of a model to zero.
template <class Model>
void zero_gradients(Model& model) {
  model.visit_parameters([](const ParameterName&, auto&, auto& gradients) { gradients.setZero(); });
}

}  // namespace comet
