// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A number that changes with the training step: a plain value to assign each step, for
/// example the entropy weight lambda or the smooth-step width gamma; or a learning rate.
///
/// \code
///   const auto lambda = Schedule::cosine(0.0, 0.05, 2000);  // dense at first, sparse by step 2000
///   options.entropy = lambda(step);
///
///   Schedule::warm_up(200).then_cosine(3e-4, 20'000)        // 0 to 3e-4, and down to 0 again
///   Schedule::constant(1e-3, 5000).then(Schedule::linear(1e-3, 1e-5, 5000))
/// \endcode
class Schedule {
 public:
  class WarmUp;

  /// The same value at every step: where a schedule is wanted, a number will do.
  /// \throws std::invalid_argument if it is not finite
  Schedule(double value)  // NOLINT: conversion is the purpose
      : Schedule("Schedule", Shape::constant, value, value, 1) {}

  /// The same value at every step. \param steps  how long, if something follows
  [[nodiscard]] static Schedule constant(double value, Index steps = 1) {
    return {"Schedule::constant", Shape::constant, value, value, steps};
  }

  /// A straight line from `first` at step 0 to `last` at step `steps`, and `last` from then on.
  /// \throws std::invalid_argument if a value is not finite or steps < 1
  [[nodiscard]] static Schedule linear(double first, double last, Index steps) {
    return {"Schedule::linear", Shape::linear, first, last, steps};
  }

  /// Half a cosine: as `linear`, but level at both ends, `last + (first - last)(1 + cos(pi t))/2`
  /// with t = step / steps.
  /// \throws std::invalid_argument if a value is not finite or steps < 1
  [[nodiscard]] static Schedule cosine(double first, double last, Index steps) {
    return {"Schedule::cosine", Shape::cosine, first, last, steps};
  }

  /// A straight line from 0 in so many steps to where what follows begins.
  /// \throws std::invalid_argument if steps < 1
  [[nodiscard]] static WarmUp warm_up(Index steps);

  /// This one for its steps, and then the other, whose step 0 is the last of this one.
  [[nodiscard]] Schedule then(const Schedule& next) const {
    Schedule joined = *this;
    for (Piece piece : next.pieces_) {
      piece.begin += num_steps();
      joined.pieces_.push_back(piece);
    }
    return joined;
  }

  /// The value at a step; steps before 0 count as 0.
  [[nodiscard]] double operator()(Index step) const noexcept {
    std::size_t i = pieces_.size() - 1;
    while (i > 0 && step < pieces_[i].begin) --i;
    const Piece& piece = pieces_[i];
    if (piece.shape == Shape::constant) return piece.first;
    const double t = static_cast<double>(std::clamp<Index>(step - piece.begin, 0, piece.steps)) /
                     static_cast<double>(piece.steps);
    // Both forms are exact at t = 0 and t = 1, so that a schedule ends on the number it was given.
    const double done =
        piece.shape == Shape::cosine ? 0.5 * (1.0 - std::cos(std::numbers::pi * t)) : t;
    return (1.0 - done) * piece.first + done * piece.last;
  }

  /// Steps until it stays as it is; 1 for a constant.
  [[nodiscard]] Index num_steps() const noexcept {
    return pieces_.back().begin + pieces_.back().steps;
  }
  /// The least value of all steps.
  [[nodiscard]] double smallest() const noexcept {
    double value = pieces_.front().first;
    for (const Piece& piece : pieces_) value = std::min({value, piece.first, piece.last});
    return value;
  }
  /// The greatest value of all steps.
  [[nodiscard]] double largest() const noexcept {
    double value = pieces_.front().first;
    for (const Piece& piece : pieces_) value = std::max({value, piece.first, piece.last});
    return value;
  }

  friend bool operator==(const Schedule&, const Schedule&) = default;

 private:
  enum class Shape { constant, linear, cosine };

  struct Piece {
    Shape shape;
    double first;
    double last;
    Index begin;  // the step that is this one's step 0
    Index steps;
    friend bool operator==(const Piece&, const Piece&) = default;
  };

  Schedule(const char* where, Shape shape, double first, double last, Index steps)
      : pieces_{{shape, first, last, 0, steps}} {
    if (!std::isfinite(first)) detail::raise(where, "first value", first, "a finite number");
    if (!std::isfinite(last)) detail::raise(where, "last value", last, "a finite number");
    detail::check_at_least(where, "steps", steps, 1);
  }

  std::vector<Piece> pieces_;  // one behind the other, at least one
};

/// \brief A warm-up that waits to be told what it leads to.
class Schedule::WarmUp {
 public:
  /// Rises from 0 to where `next` begins, and goes on as it does.
  [[nodiscard]] Schedule then(const Schedule& next) const {
    return linear(0, next(0), steps_).then(next);
  }
  /// Rises from 0 to `first`, falls to `last` in so many further steps by half a cosine, and stays.
  [[nodiscard]] Schedule then_cosine(double first, Index steps, double last = 0) const {
    return then(cosine(first, last, steps));
  }
  /// Rises from 0 to `first`, falls to `last` in so many further steps in a straight line, and
  /// stays.
  [[nodiscard]] Schedule then_linear(double first, Index steps, double last = 0) const {
    return then(linear(first, last, steps));
  }
  /// Rises from 0 to a value, and stays.
  [[nodiscard]] Schedule then_constant(double value) const { return then(constant(value)); }

 private:
  friend class Schedule;
  explicit WarmUp(Index steps) : steps_(steps) {
    detail::check_at_least("Schedule::warm_up", "steps", steps, 1);
  }

  Index steps_;
};

inline Schedule::WarmUp Schedule::warm_up(Index steps) { return WarmUp(steps); }

namespace detail {

/// What an optimizer asks of a learning rate: it may begin and end at 0, but not be 0 throughout.
/// \tparam S  the scalar of the model, in whose range it has to be
template <class S>
void check_learning_rate(std::string_view where, const Schedule& rate) {
  const double largest = rate.largest();
  if (rate.smallest() == largest)
    check_positive(where, "learning_rate", largest);
  else
    check_not_negative(where, "the least learning_rate", rate.smallest());
  check_fits<S>(where, "learning_rate", largest);
  if (S(largest) == S(0))
    raise(where, "learning_rate", largest, "a number that is not 0 as a float");
}

}  // namespace detail

}  // namespace comet
