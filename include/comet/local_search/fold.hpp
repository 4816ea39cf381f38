// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>
#include <comet/local_search/permuted_gate.hpp>

/// \file
/// \brief After a search: models without the wrapper.

namespace comet {

/// \brief A gate that can relabel its experts by itself: permuted(p) gives what the gate gives to
/// expert i to expert p(i).
template <class G>
concept PermutableGate = Gate<G> && requires(const G gate, const Permutation& p) {
  { gate.permuted(p) } -> std::same_as<G>;
};

/// \brief The gate of a wrapper with the permutation moved into its parameters.
/// \throws std::invalid_argument while the permutation is soft
/// \see in_slot_order, for gates whose labels are places in a tree or a code
template <PermutableGate G>
[[nodiscard]] G fold(const PermutedGate<G>& gate) {
  if (gate.is_soft()) detail::raise("fold", "the permutation is soft; end the search first");
  return gate.gate().permuted(gate.permutations().front());
}

/// \brief Experts in the order of a gate's slots: the i-th is experts[p(i)].
///
/// A mixture of them by the bare gate is the mixture of `experts` by the gate wrapped in p, for any
/// gate. It takes one p for all gates and selectors of a layer:
/// \code
///   MoeLayer<G, E> folded({layer.gates()[0].gate(), layer.gates()[1].gate()},
///                         in_slot_order(layer.experts(), layer.gates()[0].permutations()[0]));
/// \endcode
/// The weights are the same bits; the mixtures are up to the order of their sums.
/// \throws std::invalid_argument if the sizes differ
template <class E>
[[nodiscard]] std::vector<E> in_slot_order(const std::vector<E>& experts, const Permutation& p) {
  detail::check_equal("in_slot_order", "p.size()", p.size(), "experts.size()",
                      Index(experts.size()));
  std::vector<E> result;
  result.reserve(experts.size());
  for (const ExpertId expert : p.as_span()) result.push_back(experts[std::size_t(expert)]);
  return result;
}

}  // namespace comet
