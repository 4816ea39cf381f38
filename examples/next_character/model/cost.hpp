// SPDX-License-Identifier: MIT
#pragma once

#include <next_character/model/model.hpp>

namespace programs::next_character {

/// \brief Counts the multiply-adds of a mixture and its gate that samples really use.
///
/// \see comet::routing_cost, which counts those of a gate
class MixtureCost {
 public:
  /// \brief Counts a batch that the model has just predicted. \param pass  the one it was done with
  void add(const Model& model, const Model::Pass& pass);

  /// Multiply-adds per sample.
  [[nodiscard]] double per_sample() const { return sum_ / samples_; }

 private:
  double sum_ = 0;
  double samples_ = 0;
};

}  // namespace programs::next_character
