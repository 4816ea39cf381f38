// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <comet/core/rank_sum.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/training/sparsity_controller.hpp>

#include <programs/base/json.hpp>

namespace programs {

/// \brief What gates did with a batch, in numbers that add up over the ranks that share it.
class StepCounts {
 public:
  /// \param routings  of the rows here, one per gate
  /// \param sum       over ranks; leaves the counts alone in one process
  template <class Gates, class Routings>
  void count(const Gates& gates, const Routings& routings, comet::RankSum sum = {}) {
    counts_.clear();
    first_.clear();
    for (std::size_t g = 0; g < gates.size(); ++g) {
      first_.push_back(counts_.size());
      counts_.push_back(double(routings[g].num_samples()));
      counts_.push_back(double(routings[g].num_entries()));
      if (!gates[g].capabilities().loads) continue;
      counts_.resize(counts_.size() + std::size_t(gates[g].num_experts()), 0);
      for (const comet::ExpertId expert : routings[g].experts())
        ++counts_[first_[g] + 2 + std::size_t(expert)];
    }
    sum(counts_);
  }

  [[nodiscard]] double experts_per_sample(std::size_t gate) const {
    return counts_[first_[gate] + 1] / counts_[first_[gate]];
  }
  /// Over the gates; 0 without any.
  [[nodiscard]] double mean_experts_per_sample() const {
    if (first_.empty()) return 0;
    double sum = 0;
    for (std::size_t g = 0; g < first_.size(); ++g) sum += experts_per_sample(g);
    return sum / double(first_.size());
  }
  /// Samples per expert, of a gate that is told it.
  void load(std::size_t gate, std::vector<comet::Index>& load) const {
    const std::size_t last = gate + 1 < first_.size() ? first_[gate + 1] : counts_.size();
    load.clear();
    for (std::size_t i = first_[gate] + 2; i < last; ++i) load.push_back(comet::Index(counts_[i]));
  }

 private:
  std::vector<double> counts_;  // per gate: samples, entries, load; exact below 2^53
  std::vector<std::size_t> first_;
};

/// \brief What gates are told at the end of a step: the load of their experts, by those that steer
/// by it, and how sparse they are to be.
class GateSteering {
 public:
  /// \param sparsity  of those that anneal; none leaves them as they are
  template <class Gates>
  GateSteering(const Gates& gates,
               const std::optional<comet::SparsityControllerOptions>& sparsity) {
    for (const auto& gate : gates) {
      controller_of_.emplace_back();
      if (!sparsity || !gate.capabilities().anneals) continue;
      controller_of_.back() = controllers_.size();
      controllers_.emplace_back(*sparsity);
    }
  }

  /// Of the gates that are steered: their state is that of a training.
  [[nodiscard]] std::vector<comet::SparsityController>& controllers() { return controllers_; }
  [[nodiscard]] const std::vector<comet::SparsityController>& controllers() const {
    return controllers_;
  }

  /// \param counts, passes  of the step, one per gate
  template <class Gates, class Passes>
  void end_of_step(Gates& gates, const StepCounts& counts, const Passes& passes) {
    for (std::size_t g = 0; g < gates.size(); ++g) {
      if (gates[g].capabilities().loads) {
        counts.load(g, load_);
        comet::end_of_step(gates[g], std::span<const comet::Index>(load_), passes[g]);
      }
      if (controller_of_[g])
        controllers_[*controller_of_[g]].end_of_step(gates[g], counts.experts_per_sample(g));
    }
  }

  /// Where the controllers are, one per gate; nothing of a gate without.
  [[nodiscard]] std::vector<comet::GateAnnealing> settings() const {
    std::vector<comet::GateAnnealing> settings;
    for (const auto& controller : controller_of_)
      settings.push_back(controller ? controllers_[*controller].settings()
                                    : comet::GateAnnealing{});
    return settings;
  }

  /// \brief Sets gates to these. \throws std::invalid_argument if one cannot have them
  template <class Gates>
  static void apply(const std::vector<comet::GateAnnealing>& settings, Gates& gates) {
    for (std::size_t g = 0; g < std::min(gates.size(), settings.size()); ++g)
      if (settings[g].gamma) comet::anneal(gates[g], settings[g]);
  }

 private:
  std::vector<comet::SparsityController> controllers_;
  std::vector<std::optional<std::size_t>> controller_of_;  // one per gate
  std::vector<comet::Index> load_;
};

/// Where gates were annealed to: a list with an object for each, and back.
[[nodiscard]] Json to_json(const std::vector<comet::GateAnnealing>& settings);
[[nodiscard]] std::vector<comet::GateAnnealing> annealing_from(const Json& json);

}  // namespace programs
