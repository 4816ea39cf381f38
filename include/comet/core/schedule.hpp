// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A number that changes with the training step: a plain value to assign each step, for
/// example the entropy weight lambda or the smooth-step width gamma.
///
/// \code
///   const auto lambda = Schedule::cosine(0.0, 0.05, 2000);  // dense at first, sparse by step 2000
///   options.entropy = lambda(step);
/// \endcode
class Schedule {
 public:
  /// The same value at every step.
  [[nodiscard]] static Schedule constant(double value) {
    return Schedule("Schedule::constant", Shape::constant, value, value, 1);
  }

  /// A straight line from `first` at step 0 to `last` at step `steps`, and `last` from then on.
  /// \throws std::invalid_argument if a value is not finite or steps < 1
  [[nodiscard]] static Schedule linear(double first, double last, Index steps) {
    return Schedule("Schedule::linear", Shape::linear, first, last, steps);
  }

  /// Half a cosine: as `linear`, but level at both ends, `last + (first - last)(1 + cos(pi t))/2`
  /// with t = step / steps.
  /// \throws std::invalid_argument if a value is not finite or steps < 1
  [[nodiscard]] static Schedule cosine(double first, double last, Index steps) {
    return Schedule("Schedule::cosine", Shape::cosine, first, last, steps);
  }

  /// The value at a step; steps before 0 count as 0.
  [[nodiscard]] double operator()(Index step) const noexcept {
    const double t =
        static_cast<double>(std::clamp<Index>(step, 0, steps_)) / static_cast<double>(steps_);
    // Both forms are exact at t = 0 and t = 1, so that a schedule ends on the number it was given.
    const double done = shape_ == Shape::cosine ? 0.5 * (1.0 - std::cos(std::numbers::pi * t)) : t;
    return (1.0 - done) * first_ + done * last_;
  }

  friend bool operator==(const Schedule&, const Schedule&) = default;

 private:
  enum class Shape { constant, linear, cosine };

  Schedule(const char* where, Shape shape, double first, double last, Index steps)
      : shape_(shape), first_(first), last_(last), steps_(steps) {
    if (!std::isfinite(first)) detail::raise(where, "first value", first, "a finite number");
    if (!std::isfinite(last)) detail::raise(where, "last value", last, "a finite number");
    detail::check_at_least(where, "steps", steps, 1);
  }

  Shape shape_;
  double first_;
  double last_;
  Index steps_;
};

}  // namespace comet
