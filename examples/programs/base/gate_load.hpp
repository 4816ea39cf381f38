// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/metrics/routing.hpp>

namespace programs {

/// \brief How a gate spreads samples over experts, counted over many batches.
class GateLoad {
 public:
  explicit GateLoad(comet::Index num_experts)
      : count_(static_cast<std::size_t>(num_experts), 0),
        mass_(static_cast<std::size_t>(num_experts), 0.0) {}

  template <class S>
  void add(const comet::Routing<S>& routing) {
    samples_ += routing.num_samples();
    const comet::RoutingSummary summary =
        comet::summarize(routing, static_cast<comet::Index>(count_.size()));
    rows_ += static_cast<double>(summary.num_rows);
    for (std::size_t i = 0; i < mass_.size(); ++i)
      mass_[i] += summary.mass[i] * static_cast<double>(summary.num_rows);
    for (const comet::ExpertId expert : routing.experts())
      ++count_[static_cast<std::size_t>(expert)];
  }

  /// Mean number of experts with a weight other than 0.
  [[nodiscard]] double experts_per_sample() const {
    return static_cast<double>(std::accumulate(count_.begin(), count_.end(), std::int64_t{0})) /
           static_cast<double>(samples_);
  }

  /// Per expert, the share of the samples that use it.
  [[nodiscard]] std::vector<double> share_per_expert() const {
    std::vector<double> share;
    for (const std::int64_t count : count_)
      share.push_back(static_cast<double>(count) / static_cast<double>(samples_));
    return share;
  }

  /// How many experts share the weight: n if all have as much, 1 if one has it all, 0 if there is
  /// none.
  [[nodiscard]] double effective_experts() const {
    if (rows_ == 0) return 0;
    double entropy = 0;
    for (const double mass : mass_)
      if (mass > 0) entropy -= mass / rows_ * std::log(mass / rows_);
    return std::exp(entropy);
  }

 private:
  std::vector<std::int64_t> count_;  // per expert
  std::vector<double> mass_;         // per expert, its share of a row's weight, summed
  double rows_ = 0;                  // with weight
  std::int64_t samples_ = 0;
};

}  // namespace programs
