// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <type_traits>

#include <comet/core/concepts.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/storage.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/frozen.hpp>

/// \file
/// \brief After training: gates that only route, layers that only predict.

namespace comet {

/// \brief A gate that routes as `gate` does, to the bit, and can do nothing else.
///
/// Later changes of `gate` do not reach it. It is a RoutingGate: a MoeLayer takes it, also to train
/// experts while the routing stays. Noise of a Top-k gate is for training and is dropped;
/// permutations become labels. A HashGate freezes to a HashGate, which has nothing to leave out.
///
/// Bits agree because both follow the same sums in the same order. A compiler that contracts
/// products and sums to fused operations as it sees fit (g++ by default, where the target has them)
/// would be free to do so here and not there. Our tests have found no such difference with g++ 12
/// and clang 14; -ffp-contract=off excludes it.
///
/// \param permutations  of its experts, after any that it has: one, one per selector, or none
/// \throws std::invalid_argument while a permutation is soft, or from a gate chosen at run time
///         that cannot be frozen
/// \throws NotFinite naming the parameter that is not finite
/// \see emit_cpp
template <RoutingGate G>
[[nodiscard]] auto freeze(const G& gate, std::span<const Permutation> permutations = {}) {
  constexpr bool depends_on_batch = requires { requires bool(G::depends_on_batch); };
  static_assert(!depends_on_batch,
                "comet::freeze: this gate cannot be frozen: its rows depend on their batch");
  static_assert(FreezableGate<G> || depends_on_batch,
                "comet::freeze: this gate cannot be frozen: it has no member freeze(permutations)");
  if constexpr (FreezableGate<G>) return gate.freeze(permutations);
}

/// \brief A layer that predicts as `layer` does and can do nothing else: its gates frozen, its
/// experts' weights kept as told. Later changes of `layer` do not reach it.
///
/// With Storage::full it gives the bits of predict(). With less, it gives those of a layer with
/// rounded weights, for any batch and number of threads; Storage::int8 also rounds what an expert
/// is given to 16 bits, as a share of the sample's largest number, and has integer sums: the same
/// on any machine.
///
/// \code
///   auto served = freeze(layer, Storage::int8);
///   served.predict(x, y, pass);
/// \endcode
/// \param layer  a MoeLayer whose gates and experts can be frozen: FreezableGate, FreezableExpert
/// \throws std::invalid_argument from a gate that cannot be frozen
/// \throws NotFinite naming the parameter that is not finite
/// \par Cost  a copy; predicting costs as much as before, or less: see docs/performance.md
///
/// A file of it (save_parameters) has the experts alone, for a frozen gate has no parameters: ship
/// the file of the layer that was trained and freeze after loading, or emit_cpp.
/// \see Storage, emit_cpp, save_parameters
template <class Layer>
requires requires(const Layer& layer) {
  layer.gates().front();
  layer.experts().front();
}
[[nodiscard]] auto freeze(const Layer& layer, Storage storage = Storage::full) {
  using Gate = std::remove_cvref_t<decltype(layer.gates().front())>;
  using Expert = std::remove_cvref_t<decltype(layer.experts().front())>;
  static_assert(FreezableGate<Gate>,
                "comet::freeze: the gate of this layer cannot be frozen: it has no member "
                "freeze(permutations), because its rows depend on their batch or on a mask, or it "
                "is frozen already");
  static_assert(FreezableExpert<Expert>,
                "comet::freeze: the experts of this layer cannot be frozen: they have no member "
                "freeze(storage), as DenseExpert and MlpExpert do, or they are frozen already");
  if constexpr (FreezableGate<Gate> && FreezableExpert<Expert>) return layer.freeze(storage);
}

}  // namespace comet
