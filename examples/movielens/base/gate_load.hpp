// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace movielens {

/// \brief How a gate spreads samples over experts, counted over many batches.
class GateLoad {
 public:
  explicit GateLoad(comet::Index num_experts) : count_(static_cast<std::size_t>(num_experts), 0) {}

  template <class S>
  void add(const comet::Routing<S>& routing) {
    samples_ += routing.num_samples();
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

 private:
  std::vector<std::int64_t> count_;  // per expert
  std::int64_t samples_ = 0;
};

}  // namespace movielens
