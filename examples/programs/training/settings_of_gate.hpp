// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>
#include <comet/gates/make_gate.hpp>

#include <programs/base/common_options.hpp>
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

}  // namespace programs
