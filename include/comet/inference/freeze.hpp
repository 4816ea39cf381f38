// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/frozen_comet_gate.hpp>
#include <comet/inference/frozen_dselect_k_gate.hpp>
#include <comet/inference/frozen_top_k_gate.hpp>
#include <comet/local_search/permuted_gate.hpp>

/// \file
/// \brief After training: gates that only route.

namespace comet {

namespace detail {

template <class S>
FrozenCometGate<S> frozen(const CometGate<S>& gate, std::span<const Permutation> permutations) {
  return {gate, permutations};
}
template <class S>
FrozenDSelectKGate<S> frozen(const DSelectKGate<S>& gate,
                             std::span<const Permutation> permutations) {
  return {gate, permutations};
}
template <class S>
FrozenTopKGate<S> frozen(const TopKGate<S>& gate, std::span<const Permutation> permutations) {
  return {gate, permutations.front()};
}
template <class S>
HashGate<S> frozen(const HashGate<S>& gate, std::span<const Permutation> permutations) {
  return gate.permuted(permutations.front());
}

}  // namespace detail

/// \brief A gate that routes as `gate` does, to the bit, and can do nothing else.
///
/// It holds no gradients, and later changes of `gate` do not reach it. It is a Gate: a MoeLayer
/// takes it, also to train experts while the routing stays. Noise of a Top-k gate is for training
/// and is dropped. A HashGate freezes to a HashGate, which has nothing to leave out.
///
/// Bits agree because both follow the same sums in the same order. A compiler that contracts
/// products and sums to fused operations as it sees fit (g++ by default, where the target has them)
/// would be free to do so here and not there. Our tests have found no such difference with g++ 12
/// and clang 14; -ffp-contract=off excludes it.
///
/// \tparam G  CometGate, DSelectKGate, TopKGate, HashGate
/// \throws std::invalid_argument naming the parameter that is not finite
/// \see emit_cpp
template <class G>
[[nodiscard]] auto freeze(const G& gate) {
  const Permutation identity = Permutation::identity(gate.num_experts());
  return detail::frozen(gate, std::span(&identity, 1));
}

/// \brief The same for a gate with relabelled experts: one permutation or one per selector becomes
/// part of the frozen gate.
/// \throws std::invalid_argument while the permutation is soft
template <class G>
[[nodiscard]] auto freeze(const PermutedGate<G>& gate) {
  if (gate.is_soft()) detail::raise("freeze", "the permutation is soft; end the search first");
  return detail::frozen(gate.gate(), std::span<const Permutation>(gate.permutations()));
}

}  // namespace comet
