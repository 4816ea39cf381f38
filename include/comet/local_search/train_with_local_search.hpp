// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A way to choose the experts' permutation while a model trains.
///
/// Per step: prepare(gates) before the forward pass, backward(gates) after the backward pass and
/// before the optimizer, advance(gates) at the end; none of them once finished(). Gates is a range
/// of PermutedGate.
template <class T, class Gates>
concept PermutationStrategy = requires(T strategy, Gates& gates) {
  strategy.prepare(gates);
  strategy.backward(gates);
  strategy.advance(gates);
  { strategy.finished() } -> std::convertible_to<bool>;
};

/// \brief One training step inside a search: before the search ends it takes part, afterwards the
/// step is the user's alone.
///
/// \param gates      a range of PermutedGate, e.g. layer.gates()
/// \param gradients  callable: forward, loss and backward of one step
/// \param update     callable: the optimizer's step
template <class Strategy, class Gates, class Gradients, class Update>
requires PermutationStrategy<Strategy, Gates>
void step_with_local_search(Strategy& search, Gates& gates, Gradients&& gradients,
                            Update&& update) {
  const bool searching = !search.finished();
  if (searching) search.prepare(gates);
  gradients();
  if (searching) search.backward(gates);
  update();
  if (searching) search.advance(gates);
}

/// \brief Wraps a training loop in a permutation search.
///
/// \code
///   train_with_local_search(search, layer.gates(), 1000,
///       [&](Index step) { /* forward, loss, backward */ },
///       [&](Index step) { optimizer.step(model); });
/// \endcode
/// \param steps      training steps; may be more than the search takes
/// \param gradients  callable with the step's number, counted from 0: forward, loss, backward
/// \param update     callable with the step's number: the optimizer's step
/// \throws std::invalid_argument if steps < 0
template <class Strategy, class Gates, class Gradients, class Update>
requires PermutationStrategy<Strategy, Gates>
void train_with_local_search(Strategy& search, Gates& gates, Index steps, Gradients&& gradients,
                             Update&& update) {
  detail::check_at_least("train_with_local_search", "steps", steps, 0);
  for (Index step = 0; step < steps; ++step)
    step_with_local_search(
        search, gates, [&] { gradients(step); }, [&] { update(step); });
}

}  // namespace comet
