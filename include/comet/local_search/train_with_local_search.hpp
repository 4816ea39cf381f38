// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/local_search/concepts.hpp>

namespace comet {

/// \brief One training step inside a search: before the search ends it takes part, afterwards the
/// step is the user's alone.
///
/// \param gates      a range of RelabelledGate, e.g. layer.gates()
/// \param gradients  callable: forward, loss, backward, and search.backward() if the search learns
/// \param update     callable: the optimizer's step
template <class Strategy, class Gates, class ComputeGradients, class Update>
requires PermutationStrategy<Strategy, Gates>
void step_with_local_search(Strategy& search, Gates& gates, ComputeGradients&& gradients,
                            Update&& update) {
  const bool searching = !search.finished();
  if (searching) search.prepare(gates);
  gradients();
  update();
  if (searching) search.advance(gates);
}

/// \brief Wraps a training loop in a permutation search.
///
/// \code
///   train_with_local_search(search, layer.gates(), 1000,
///       [&](Index step) {
///         /* forward, loss, backward, and for a search that learns: */
///         search.backward(layer.gates(), pass.workspace.gates(), gradients);
///       },
///       [&](Index step) { adam.step(model, gradients); });
/// \endcode
/// \param steps      training steps; may be more than the search takes
/// \param gradients  callable with the step's number, counted from 0: forward, loss, backward, and
///                   search.backward() if the search learns
/// \param update     callable with the step's number: the optimizer's step
/// \throws std::invalid_argument if steps < 0
template <class Strategy, class Gates, class ComputeGradients, class Update>
requires PermutationStrategy<Strategy, Gates>
void train_with_local_search(Strategy& search, Gates& gates, Index steps,
                             ComputeGradients&& gradients, Update&& update) {
  detail::check_at_least("train_with_local_search", "steps", steps, 0);
  for (Index step = 0; step < steps; ++step)
    step_with_local_search(
        search, gates, [&] { gradients(step); }, [&] { update(step); });
}

}  // namespace comet
