// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What a gate may be able to do beyond routing and training: the concepts, and one function
/// for each. Members of the gate do the work; who wraps a gate hands them on.
///
/// \see SelectorGate, the one that core/concepts.hpp has

namespace comet {

struct ExplainNames;  // gates/explanation.hpp

/// \brief What an annealing sets: what is left out stays as it is.
struct GateAnnealing {
  std::optional<double> gamma = {};    ///< Width of the smooth-step, > 0.
  std::optional<double> entropy = {};  ///< Strength of the entropy penalty, >= 0.
  std::optional<double> spread = {};   ///< Strength of the reward for even use, >= 0.
};

/// \brief Anneals: is soft at first and can be made to decide while it trains, by a narrower
/// smooth-step or a stronger penalty on entropy.
template <class G>
concept AnnealableGate = RoutingGate<G> && requires(G gate, const GateAnnealing& settings) {
  gate.anneal(settings);
};

/// \brief Freezes: gives a gate that routes to the same bits and does nothing else. It takes one
/// permutation of its experts, or one per selector, into the result; none leaves experts as they
/// are.
template <class G>
concept FreezableGate = RoutingGate<G> &&
    requires(const G gate, std::span<const Permutation> permutations) {
  gate.freeze(permutations);
};

/// \brief Explains: says of one sample why it goes where it goes. Permutations as for freeze().
template <class G>
concept ExplainableGate = RoutingGate<G> &&
    requires(const G gate, const ConstMatrixView<typename G::Scalar>& x,
             std::span<const Permutation> permutations, const ExplainNames& names) {
  gate.explain(x, permutations, names);
};

/// \brief Is told the load: at the end of a step, the number of samples that each expert had in it,
/// to steer the next one by. A gate that has to know more takes the pass of the step's forward() as
/// well.
template <class G>
concept LoadedGate = RoutingGate<G> &&(
    requires(G gate, std::span<const Index> load) { gate.end_of_step(load); } ||
    requires(G gate, std::span<const Index> load, const Pass<G>& pass) {
      gate.end_of_step(load, pass);
    });

/// \brief Splits evenly: sets the planes that it sends samples left and right by so that a batch of
/// samples is shared out evenly.
template <class G>
concept SplittingGate = RoutingGate<G> &&
    requires(G gate, const Samples<typename G::Scalar>& samples, RandomKey key, double deviation) {
  gate.split_evenly(samples, key, deviation);
};

/// \brief The capabilities of a gate, as columns of a table.
struct GateCapabilities {
  bool trains = false;     ///< TrainableGate: it learns where to send a sample.
  bool selectors = false;  ///< SelectorGate: has trees or selectors to be relabelled one by one.
  bool anneals = false;    ///< AnnealableGate
  bool freezes = false;    ///< FreezableGate
  bool explains = false;   ///< ExplainableGate
  bool loads = false;      ///< LoadedGate
  bool splits = false;     ///< SplittingGate

  static constexpr std::size_t count = 7;  ///< How many there are.
  /// What each is called, in the order of values().
  static constexpr std::array<std::string_view, count> names = {
      "trains", "selectors", "anneals", "freezes", "explains", "is told the load", "splits evenly"};
  /// Whether the gate has each.
  [[nodiscard]] constexpr std::array<bool, count> values() const {
    return {trains, selectors, anneals, freezes, explains, loads, splits};
  }
  friend constexpr bool operator==(const GateCapabilities&, const GateCapabilities&) = default;
};

/// \brief What a type of gate can do. For a gate whose kind is chosen at run time, and for wrappers
/// of one, ask capabilities(gate).
template <RoutingGate G>
inline constexpr GateCapabilities capabilities_of = {.trains = TrainableGate<G>,
                                                     .selectors = SelectorGate<G>,
                                                     .anneals = AnnealableGate<G>,
                                                     .freezes = FreezableGate<G>,
                                                     .explains = ExplainableGate<G>,
                                                     .loads = LoadedGate<G>,
                                                     .splits = SplittingGate<G>};

/// \brief What a gate can do: known from its type, unless the gate knows better.
template <RoutingGate G>
[[nodiscard]] constexpr GateCapabilities capabilities(const G& gate) {
  if constexpr (requires { GateCapabilities(gate.capabilities()); }) {
    return gate.capabilities();
  } else {
    return capabilities_of<G>;
  }
}

/// \brief Whether a sample's row depends on the others of its batch: the gate says so by `static
/// constexpr bool depends_on_batch = true`, or, if it knows no sooner, by a function of that name.
template <RoutingGate G>
[[nodiscard]] constexpr bool depends_on_batch(const G& gate) {
  if constexpr (requires { bool(gate.depends_on_batch()); }) {
    return gate.depends_on_batch();
  } else if constexpr (requires { bool(G::depends_on_batch); }) {
    return G::depends_on_batch;
  } else {
    return false;
  }
}

/// \brief What a gate's kind is called, e.g. "top_k"; empty for one that has not been given a name.
template <RoutingGate G>
[[nodiscard]] constexpr std::string_view gate_name(const G& gate) {
  if constexpr (requires { std::string_view(gate.name()); }) {
    return gate.name();
  } else if constexpr (requires { std::string_view(G::name); }) {
    return G::name;
  } else {
    return {};
  }
}

/// \brief Number of features that a gate looks at; 0 for one that looks at ids alone, or at
/// nothing.
template <RoutingGate G>
[[nodiscard]] constexpr Index gate_input_dim(const G& gate) {
  if constexpr (requires { Index(gate.input_dim()); }) {
    return gate.input_dim();
  } else {
    return 0;
  }
}

namespace detail {

/// "a top_k gate", "an expert_choice gate", for messages.
[[nodiscard]] inline std::string a_gate(std::string_view name) {
  if (name.empty()) return "this gate";
  const bool vowel = std::string_view("aeiou").find(name.front()) != std::string_view::npos;
  return (vowel ? "an " : "a ") + std::string(name) + " gate";
}

}  // namespace detail

/// \brief Sets gamma and the strengths of the penalties on rows: those that are given.
/// \throws std::invalid_argument if a number is outside its bounds, or by a gate chosen at run time
/// that has nothing to anneal
template <RoutingGate G>
void anneal(G& gate, const GateAnnealing& settings) {
  static_assert(AnnealableGate<G>,
                "comet::anneal: this gate has no gamma and no entropy penalty to anneal");
  if constexpr (AnnealableGate<G>) gate.anneal(settings);
}

/// \brief Gives a gate a start that shares samples out evenly: each leaf of each of its trees gets
/// as many samples of the batch as another, by planes in random directions. Samples that are equal
/// stay together.
/// \param samples    a first batch, of at least n samples; many times that is better
/// \param deviation  standard deviation of a split's logits over the samples that come to it, in
///                   units of gamma, > 0: small is soft
/// \throws std::invalid_argument if the batch is too small, or by a gate chosen at run time that
///         has no such planes
/// \throws NotFinite naming a feature that is not finite
template <RoutingGate G>
void split_evenly(G& gate, const std::type_identity_t<Samples<typename G::Scalar>>& samples,
                  RandomKey key, double deviation = 0.2) {
  static_assert(SplittingGate<G>,
                "comet::split_evenly: this gate has no splits of its own to be set");
  if constexpr (SplittingGate<G>) gate.split_evenly(samples, key, deviation);
}

/// \brief Tells a gate the load of the step that ends.
/// \param load  n numbers: the samples that each expert had
/// \throws std::invalid_argument by a gate chosen at run time that does not take it, or by one that
///         needs the pass as well
template <RoutingGate G>
void end_of_step(G& gate, std::span<const Index> load) {
  constexpr bool takes_load = requires { gate.end_of_step(load); };
  static_assert(LoadedGate<G>, "comet::end_of_step: this gate has no use for the load of a step");
  static_assert(takes_load || !LoadedGate<G>,
                "comet::end_of_step: this gate needs the pass of the step's forward(): "
                "end_of_step(gate, load, pass)");
  if constexpr (takes_load) gate.end_of_step(load);
}
/// \brief The same for a gate that may need more than the load.
/// \param pass  of the step's forward()
template <RoutingGate G>
void end_of_step(G& gate, std::span<const Index> load, const Pass<G>& pass) {
  static_assert(LoadedGate<G>, "comet::end_of_step: this gate has no use for the load of a step");
  if constexpr (requires { gate.end_of_step(load, pass); }) {
    gate.end_of_step(load, pass);
  } else if constexpr (LoadedGate<G>) {
    gate.end_of_step(load);
  }
}

}  // namespace comet
