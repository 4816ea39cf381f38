// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/training/sparsity_controller.hpp>

#include <programs/base/json.hpp>

namespace programs {

/// Of a batch as it was trained, over the gates.
template <class Routings>
[[nodiscard]] double mean_experts_per_sample(const Routings& routings) {
  double sum = 0;
  for (const auto& routing : routings)
    sum += double(routing.num_entries()) / double(routing.num_samples());
  return sum / double(routings.size());
}

/// \brief What gates are told at the end of a step: the load of their experts, by those that steer
/// by it, and how sparse they are to be.
class GateSteering {
 public:
  /// \param sparsity  of those that anneal; none leaves them as they are
  template <class Gate>
  GateSteering(const std::vector<Gate>& gates,
               const std::optional<comet::SparsityControllerOptions>& sparsity) {
    for (const Gate& gate : gates) {
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

  /// \param routings, passes  of the step, one per gate
  template <class Gate, class Routings, class Passes>
  void end_of_step(std::vector<Gate>& gates, const Routings& routings, const Passes& passes) {
    for (std::size_t g = 0; g < gates.size(); ++g) {
      const auto& routing = routings[g];
      if (gates[g].capabilities().loads) {
        load_.assign(std::size_t(gates[g].num_experts()), 0);
        for (const comet::ExpertId expert : routing.experts()) ++load_[std::size_t(expert)];
        comet::end_of_step(gates[g], std::span<const comet::Index>(load_), passes[g]);
      }
      if (controller_of_[g])
        controllers_[*controller_of_[g]].end_of_step(
            gates[g], double(routing.num_entries()) / double(routing.num_samples()));
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
  template <class Gate>
  static void apply(const std::vector<comet::GateAnnealing>& settings, std::vector<Gate>& gates) {
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
