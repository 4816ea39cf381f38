// SPDX-License-Identifier: MIT
#include <next_character/model/cost.hpp>

#include <cstddef>

#include <comet/core/types.hpp>
#include <comet/inference/routing_cost.hpp>

namespace programs::next_character {

void MixtureCost::add(const Model& model, const Model::Pass& pass) {
  const auto& routing = pass.workspace.mixture().routing();
  const auto& experts = model.mixture().experts();
  for (const comet::ExpertId expert : routing.experts())
    sum_ += experts[std::size_t(expert)].cost();
  const auto& gate = model.gates().front().gate();
  sum_ += comet::routing_cost(gate, pass.workspace.normalized());
  samples_ += double(routing.num_samples());
}

}  // namespace programs::next_character
