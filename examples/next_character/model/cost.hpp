// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/rank_sum.hpp>

#include <next_character/model/model.hpp>

namespace programs::next_character {

/// \brief Counts the multiply-adds of a mixture and its gate that samples really use.
///
/// \see comet::routing_cost, which counts those of a gate
class MixtureCost {
 public:
  /// \brief Counts a batch that the model has just predicted. \param pass  the one it was done with
  void add(const Model& model, const Model::Pass& pass);

  /// Makes it that of the batches of all ranks.
  void sum(comet::RankSum over_ranks) {
    sum_ = over_ranks(sum_);
    samples_ = over_ranks(samples_);
  }

  /// Multiply-adds per sample.
  [[nodiscard]] double per_sample() const { return sum_ / samples_; }

 private:
  double sum_ = 0;
  double samples_ = 0;
};

}  // namespace programs::next_character
