// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <type_traits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/gates/any.hpp>
#include <comet/testing/detail/routing_laws.hpp>
#include <comet/testing/detail/sharing_laws.hpp>
#include <comet/testing/detail/training_laws.hpp>
#include <comet/testing/gate_law_options.hpp>

namespace comet::detail {

template <class To, class From>
testing::GateLawOptions<To> without_relabel(const testing::GateLawOptions<From>& from) {
  return {.num_samples = from.num_samples,
          .num_threaded_samples = from.num_threaded_samples,
          .input_dim = from.input_dim,
          .num_ids = from.num_ids,
          .max_active = from.max_active,
          .sums_to_one = from.sums_to_one,
          .at_most_one = from.at_most_one,
          .any_size = from.any_size,
          .shared_batch = from.shared_batch,
          .differences = from.differences,
          .misuse = from.misuse,
          .seed = from.seed,
          .count_allocations = from.count_allocations};
}

template <class G>
std::vector<testing::BrokenLaw> check_laws(const G& gate, const testing::GateLawOptions<G>& options,
                                           bool trains) {
  std::vector<testing::BrokenLaw> broken;
  RoutingLaws<G>(gate, options, broken).check();
  if constexpr (TrainableGate<G>)
    if (trains && (broken.empty() || broken.front().law != law_of_entries)) {
      TrainingLaws<G>(gate, options, broken).check();
      if (broken.empty()) SharingLaws<G>(gate, options, broken).check();
    }
  return broken;
}

}  // namespace comet::detail

namespace comet::testing {

/// \brief Checks the laws that every gate must obey; run it on a gate of your own in one line:
///
///     for (const auto& broken : comet::testing::check_gate_laws(gate)) std::cout << broken;
///
/// - Experts of a row ascend, are below n and at most max_active(); weights are >= 0 and sum to 1
///   (or at most 1, or are not bounded, by option).
/// - A row has the same bits in a batch of any size (unless the gate says depends_on_batch), at any
///   address, in a second call and for any number of threads; copies are independent; a batch of 0
///   samples is allowed.
/// - A masked sample has an empty row, is not looked at, not counted, and changes no bit of others.
/// - What is wrong is refused and named: a size, nan, a backward() that does not follow its
///   forward().
/// - For a TrainableGate: forward() is a function of its key; gradients are added, have the same
///   bits for any number of threads and agree with differences (in double); dx is optional; inputs
///   are left alone; pieces of a batch that ranks share have the whole batch's rows, gradients and
///   penalty.
/// - Where options give the means: relabelling experts moves weights, second calls do not allocate.
///
/// A law that throws counts as broken. Inputs are random, so that ties and kinks are improbable.
///
/// \param gate  is copied, not changed
/// \return the laws that are broken: none for a good gate
/// \par Cost    2 forward passes per parameter and input, unless options.differences is off
template <RoutingGate G>
[[nodiscard]] std::vector<BrokenLaw> check_gate_laws(
    const G& gate, const std::type_identity_t<GateLawOptions<G>>& options = {}) {
  using Any = AnyGate<typename G::Scalar>;
  if constexpr (!std::same_as<G, Any> && (TrainableGate<G> || !Parametric<G>)) {
    // The laws are compiled once for all gates of a scalar: they look at a gate chosen at run time.
    GateLawOptions<Any> erased = comet::detail::without_relabel<Any>(options);
    if constexpr (requires { Index(gate.num_ids()); })
      if (erased.num_ids == 0) erased.num_ids = Index(gate.num_ids());
    if (options.relabel)
      erased.relabel = [&](Any& any, const Permutation& p) {
        options.relabel(*any.template get_if<G>(), p);
      };
    return comet::detail::check_laws(Any(gate), erased, TrainableGate<G>);
  } else {
    return comet::detail::check_laws(gate, options, TrainableGate<G>);
  }
}

}  // namespace comet::testing
