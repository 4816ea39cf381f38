// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>

#include <next_character/model/model.hpp>

namespace programs::next_character {

/// \brief Counts the multiply-adds of a mixture and its gate that samples really use.
///
/// Of a gate they are those of the hyperplanes that it looks at: of COMET, those of the splits and
/// leaves that a sample reaches.
class MixtureCost {
 public:
  /// \brief Counts a batch that the model has just predicted. \param pass  the one it was done with
  void add(const Model& model, const Model::Pass& pass);

  /// Multiply-adds per sample.
  [[nodiscard]] double per_sample() const { return sum_ / samples_; }

 private:
  double reached_planes(const comet::AnyGate<float>& gate, const comet::Samples<float>& samples);

  double sum_ = 0;
  double samples_ = 0;
  comet::Pass<comet::AnyGate<float>> pass_;
  comet::Routing<float> slots_;
  std::vector<std::int64_t> seen_by_;  // per split, the last sample that reached it
};

}  // namespace programs::next_character
