// SPDX-License-Identifier: MIT
#include <programs/training/gates_of_rows.hpp>

#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <comet/gates/hash.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/softmax.hpp>

#include <programs/base/dense_rows.hpp>
#include <programs/base/kinds.hpp>

namespace programs {

comet::GateOptions settings_of_gate(const CommonOptions& o, comet::Index input_dim,
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

comet::AnyGate<float> make_gate(const CommonOptions& o, const comet::GateOptions& settings,
                                std::span<const std::int64_t> frequency, comet::RandomKey key) {
  using Hash = comet::HashGate<float>;
  if (o.gate == Hash::name)
    return comet::AnyGate<float>(Hash::balanced(frequency, settings.num_experts));
  return comet::make_gate<float>(o.gate, settings, key);
}

comet::AnyGate<float> make_dense_gate(const CommonOptions& o, comet::Index input_dim,
                                      comet::Index task, comet::Index num_tasks,
                                      comet::RandomKey key) {
  comet::SoftmaxGate<float> all(
      {.input_dim = input_dim, .num_experts = num_experts_of_row(o.gate, 0, o.k, num_tasks)}, key);
  if (o.gate == dense) return comet::AnyGate<float>(std::move(all));
  std::vector<comet::ExpertId> own(static_cast<std::size_t>(o.k));
  std::iota(own.begin(), own.end(), comet::ExpertId(task * o.k));
  return comet::AnyGate<float>(comet::MaskedExperts(std::move(all), own));
}

}  // namespace programs
