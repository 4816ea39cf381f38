// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/rank_sum.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/metrics/routing.hpp>

#include <programs/base/figures.hpp>

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
    const auto rows = static_cast<double>(summary.num_rows);
    rows_ += rows;
    if (rows > 0) row_entropy_ += rows * std::log(summary.effective_per_sample);
    for (std::size_t i = 0; i < mass_.size(); ++i) mass_[i] += summary.mass[i] * rows;
    for (const comet::ExpertId expert : routing.experts())
      ++count_[static_cast<std::size_t>(expert)];
  }

  /// Makes it that of the batches of all ranks.
  void sum(comet::RankSum over_ranks) {
    std::vector<double> all(count_.begin(), count_.end());
    all.insert(all.end(), mass_.begin(), mass_.end());
    all.insert(all.end(), {rows_, row_entropy_, static_cast<double>(samples_)});
    over_ranks(all);
    const std::size_t n = count_.size();
    for (std::size_t i = 0; i < n; ++i) {
      count_[i] = static_cast<std::int64_t>(all[i]);
      mass_[i] = all[n + i];
    }
    rows_ = all[2 * n];
    row_entropy_ = all[2 * n + 1];
    samples_ = static_cast<std::int64_t>(all[2 * n + 2]);
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
  [[nodiscard]] double effective_experts() const { return rows_ == 0 ? 0 : std::exp(entropy()); }

  /// What a sample tells about its experts, in nats: 0 if the gate is a constant.
  [[nodiscard]] double mutual_information() const {
    return rows_ == 0 ? 0 : std::max(0.0, entropy() - row_entropy_ / rows_);
  }

 private:
  /// Of the mean row.
  [[nodiscard]] double entropy() const {
    double sum = 0;
    for (const double mass : mass_)
      if (mass > 0) sum -= mass / rows_ * std::log(mass / rows_);
    return sum;
  }

  std::vector<std::int64_t> count_;  // per expert
  std::vector<double> mass_;         // per expert, its share of a row's weight, summed
  double rows_ = 0;                  // with weight
  double row_entropy_ = 0;           // summed
  std::int64_t samples_ = 0;
};

/// What figures say of gates, one per task.
inline void describe_gates(std::span<const GateLoad> loads, Figures& figures) {
  for (const GateLoad& load : loads) {
    figures.experts_per_sample_by_task.push_back(load.experts_per_sample());
    figures.effective_experts.push_back(load.effective_experts());
    figures.mutual_information.push_back(load.mutual_information());
    figures.load.push_back(load.share_per_expert());
  }
  for (const double experts : figures.experts_per_sample_by_task)
    figures.experts_per_sample += experts / static_cast<double>(loads.size());
}

}  // namespace programs
