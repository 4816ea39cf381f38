// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/hash.hpp>

#include <movielens/base/kinds.hpp>
#include <movielens/model/train_options.hpp>

namespace movielens {

/// A gate that looks at features, of any kind.
using FeatureGate = comet::AnyGate<float>;

/// The one that the options name.
[[nodiscard]] FeatureGate make_feature_gate(const TrainOptions& options, comet::RandomKey key);

/// \brief Calls `use` with what makes the gates that the options name, callable with a key. What a
/// gate looks at is part of its type, so `use` is compiled for both types.
/// \param item_frequency  a gate with a table spreads items over the experts so that each serves as
///                        many rows
template <class Use>
auto with_gate_maker(const TrainOptions& o, const std::vector<std::int64_t>& item_frequency,
                     Use use) {
  if (gate_kind(o.gate).has_table)
    return use([&](comet::RandomKey) {
      return comet::HashGate<float>::balanced(item_frequency, o.model.num_experts);
    });
  return use([&](comet::RandomKey key) { return make_feature_gate(o, key); });
}

}  // namespace movielens
