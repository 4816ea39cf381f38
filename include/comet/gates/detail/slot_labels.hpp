// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief The experts behind the slots of a gate.

namespace comet::detail {

/// The expert of slot i of selector j; one permutation is for all selectors, none leaves experts as
/// they are.
inline ExpertId permuted_expert(std::span<const Permutation> permutations, Index i, Index j = 0) {
  return permutations.empty() ? ExpertId(i) : permutations[std::size_t(j) % permutations.size()][i];
}

/// That of every slot, of slot i of selector j at i num_selectors + j.
inline std::vector<ExpertId> slot_labels(std::span<const Permutation> permutations,
                                         Index num_experts, Index num_selectors) {
  std::vector<ExpertId> labels;
  labels.reserve(std::size_t(num_experts * num_selectors));
  for (Index i = 0; i < num_experts; ++i)
    for (Index j = 0; j < num_selectors; ++j) labels.push_back(permuted_expert(permutations, i, j));
  return labels;
}

}  // namespace comet::detail
