// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief After a search: experts in the order of a gate's slots, the i-th is experts[p(i)].
///
/// A mixture of them by the bare gate is the mixture of `experts` by the gate wrapped in p, for any
/// gate. It takes one p for all gates and selectors of a layer:
/// \code
///   MoeLayer<G, E> plain({layer.gates()[0].gate(), layer.gates()[1].gate()},
///                        in_slot_order(layer.experts(), layer.gates()[0].permutations()[0]));
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
