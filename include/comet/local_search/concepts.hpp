// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <ranges>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What a local search asks of its gates, what a training asks of a local search, and what a
/// search over hard permutations asks of its objective.

namespace comet {

/// \brief Relabels: weight of slot i goes to expert pi(i), by one permutation for all of its
/// selectors or one for each, or for a while by soft ones; gate() is the one that speaks of slots.
/// \see PermutedGate
template <class G>
concept RelabelledGate = RoutingGate<G> &&
    requires(G gate, const G& constant, std::vector<Permutation> permutations,
             std::span<const Matrix<double>> soft, MatrixView<double> gradient,
             const Pass<G>& pass) {
  { constant.permutations() } -> std::convertible_to<const std::vector<Permutation>&>;
  requires RoutingGate<std::remove_cvref_t<decltype(constant.gate())>>;
  { constant.num_selectors() } -> std::convertible_to<Index>;
  gate.set_permutations(permutations);
  gate.set_soft(soft, std::span<const Permutation>(permutations));
  constant.add_soft_gradient(Index(0), gradient, pass);
};

/// \brief Several gates that are searched over together, those of a layer for example.
template <class Gates>
concept RelabelledGates =
    std::ranges::range<Gates> && RelabelledGate<std::ranges::range_value_t<Gates>>;

/// \brief A way to choose the experts' permutation while a model trains.
///
/// Per step: prepare(gates) before the forward pass; backward(gates, passes, gradients) after the
/// backward pass, with the passes of the gates, adds to the gradients of what the search itself
/// learns; advance(gates) after the optimizer. None of them once finished(), but for backward(),
/// which then does nothing. regularization() is the search's part of the loss. A search without
/// parameters or without state visits nothing.
template <class T, class Gates>
concept PermutationStrategy = RelabelledGates<Gates> && Parametric<T> && Stateful<T> &&
    requires(T strategy, Gates& gates,
             std::span<const Pass<std::ranges::range_value_t<Gates>>> passes,
             GradientView<typename std::ranges::range_value_t<Gates>::Scalar> gradients) {
  strategy.prepare(gates);
  strategy.backward(gates, passes, gradients);
  strategy.advance(gates);
  { strategy.finished() } -> std::convertible_to<bool>;
  { strategy.regularization() } -> std::convertible_to<double>;
};

/// \brief A loss as a function of the permutation, everything else fixed.
///
/// start(gates) takes stock of the model as it is now; loss(candidate) is the loss under a
/// candidate permutation; move_to(p) says that p is now the one that candidates differ little from.
/// \see MixtureObjective, which computes it from cached expert outputs
template <class O, class Gates>
concept PermutationObjective = requires(O objective, const Gates& gates,
                                        std::span<const ExpertId> candidate) {
  objective.start(gates);
  objective.move_to(candidate);
  { objective.loss(candidate) } -> std::convertible_to<double>;
};

}  // namespace comet
