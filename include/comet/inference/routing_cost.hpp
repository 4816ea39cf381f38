// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/detail/comet_source.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/masked.hpp>
#include <comet/kernels/portable/soft_tree.hpp>

/// \file
/// \brief What it costs to decide who is asked: multiply-adds, counted on samples.

namespace comet {
namespace detail {

template <class S>
Index num_live(const Samples<S>& samples) {
  LiveSamples live;
  live.assign(samples);
  return live.size();
}

/// Planes that a gate of logits evaluates: one per expert.
template <class G, class S>
Index planes_of(const G& gate, const Samples<S>& samples) {
  return num_live(samples) * gate.num_experts();
}
template <class S>
Index planes_of(const DSelectKGate<S>& gate, const Samples<S>& samples) {
  return num_live(samples) * (gate.bits().size() + gate.mixture().size());
}
/// Splits and leaves that the samples reach, over all trees.
template <class S>
Index planes_of(const CometGate<S>& gate, const Samples<S>& samples) {
  LiveSamples live;
  live.assign(samples);
  const portable::TreeShape shape(gate.num_experts());
  SoftTreeTile<S> tile;
  Index planes = 0;
  for (Index t = 0; t < num_tiles(live.size()); ++t) {
    tile.assign(live, t * samples_per_tile);
    CometSource<S> source(gate.splits(), gate.leaves(), gate.num_selectors(),
                          S(gate.options().gamma), samples.features, tile);
    // As in training: inference keeps no record of splits.
    tile.descend(source, shape, Purpose::training, Rows::experts);
    planes += Index(tile.splits().size() + tile.leaves().size());
  }
  return planes;
}

template <class G>
inline constexpr bool is_masked = false;
template <class G>
inline constexpr bool is_masked<MaskedExperts<G>> = true;

}  // namespace detail

/// \brief Multiply-adds that a gate of the family spends on routing these samples: d for each plane
/// that it evaluates.
///
/// COMET evaluates the splits and leaves that a sample reaches: k (2 n - 1) planes at the start and
/// about k (log2 n + 1) once saturated, so that its cost depends on the samples. All others
/// evaluate the same planes for every sample: DSelect-k k (ceil(log2 n) + 1), gates of logits n,
/// those that look at ids or at nothing none. Masked samples cost nothing. MaskedExperts, chosen at
/// run time or not, cost what the gate within does.
///
/// \param samples  d x B
/// \return of the whole batch: divided by B it is the cost of a sample
/// \throws std::invalid_argument if x.rows() != input_dim(), or a gate chosen at run time is none
///         of the family
/// \par Cost  COMET: that of routing, with one thread; others: O(B). Allocates
template <RoutingGate G>
[[nodiscard]] double routing_cost(
    const G& gate, const std::type_identity_t<Samples<typename G::Scalar>>& samples) {
  using S = typename G::Scalar;
  if constexpr (std::is_same_v<G, AnyGate<S>>) {
    std::optional<double> cost;
    GateFamily<S>::for_each([&]<class Held>(std::type_identity<Held>) {
      if (const Held* held = gate.template get_if<Held>()) cost = routing_cost(*held, samples);
      if (const auto* masked = gate.template get_if<MaskedExperts<Held>>())
        cost = routing_cost(masked->gate(), samples);
    });
    if (cost) return *cost;
    detail::raise("routing_cost", "it is not known what " + detail::a_gate(gate.name()) +
                                      " evaluates: it is none of the family");
  } else if constexpr (detail::is_masked<G>) {
    return routing_cost(gate.gate(), samples);
  } else {
    static_assert(GateFamily<S>::template contains<G>,
                  "comet::routing_cost: it is not known what this gate evaluates");
    const Index dim = gate_input_dim(gate);
    if (dim == 0) return 0;
    samples.validate("routing_cost", dim);
    return double(dim) * double(detail::planes_of(gate, samples));
  }
}

}  // namespace comet
