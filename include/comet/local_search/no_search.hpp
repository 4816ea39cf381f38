// SPDX-License-Identifier: MIT
#pragma once

namespace comet {

/// \brief The local search of a training without one: a PermutationStrategy that has finished
/// before it began and leaves the gates as they are.
struct NoSearch {
  /// Nothing.
  void prepare(const auto& /*gates*/) {}
  /// Nothing.
  void backward(const auto& /*gates*/, const auto& /*passes*/, const auto& /*gradients*/) {}
  /// Nothing.
  void advance(const auto& /*gates*/) {}
  /// Always.
  [[nodiscard]] bool finished() const noexcept { return true; }
  /// 0.
  [[nodiscard]] double regularization() const noexcept { return 0; }

  /// It has no parameters.
  void visit(const auto& /*f*/) const {}
  /// It has no state.
  void visit_state(const auto& /*f*/) const {}
  /// It has no state.
  void restored() const {}
};

}  // namespace comet
