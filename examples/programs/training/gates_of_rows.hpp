// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/softmax.hpp>

#include <programs/base/common_options.hpp>
#include <programs/base/dense_rows.hpp>
#include <programs/base/kinds.hpp>

namespace programs {

/// \brief What a program's options say of the gate that they name, for comet::make_gate: those that
/// it heeds.
[[nodiscard]] inline comet::GateOptions settings_of_gate(const CommonOptions& o,
                                                         comet::Index input_dim,
                                                         comet::Index num_experts) {
  comet::GateOptions settings{.input_dim = input_dim, .num_experts = num_experts, .k = o.k};
  const GateKind& kind = gate_kind(o.gate);
  if (kind.is_smooth) {
    settings.gamma = o.gamma;
    settings.entropy = o.entropy;
  }
  if (kind.spreads) settings.spread = o.spread;
  if (kind.splits) settings.split_scale = o.split_scale;
  if (kind.balances) settings.load_balance = o.load_balance;
  if (kind.loses_codes) settings.reachability = o.reachability;
  return settings;
}

/// \brief The gate of a dense row for one of its tasks: all of its experts, or the k that belong to
/// the task.
[[nodiscard]] inline comet::AnyGate<float> make_dense_gate(const CommonOptions& o,
                                                           comet::Index input_dim,
                                                           comet::Index task,
                                                           comet::Index num_tasks,
                                                           comet::RandomKey key) {
  comet::SoftmaxGate<float> all(
      {.input_dim = input_dim, .num_experts = num_experts_of_row(o.gate, 0, o.k, num_tasks)}, key);
  if (o.gate == dense) return comet::AnyGate<float>(std::move(all));
  std::vector<comet::ExpertId> own(static_cast<std::size_t>(o.k));
  std::iota(own.begin(), own.end(), comet::ExpertId(task * o.k));
  return comet::AnyGate<float>(comet::MaskedExperts(std::move(all), own));
}

}  // namespace programs
