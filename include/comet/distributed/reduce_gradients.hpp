// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/distributed/replicated.hpp>

/// \file
/// \brief Gradients over ranks. One convention for factors: the loss is a mean over the rows of all
/// ranks, so each rank scales the derivatives of its own mean by share_of_rows(), and what follows
/// are sums, whoever takes them.

namespace comet {

/// \brief Adds up, over all ranks, the gradients of what every rank has. Those of experts that live
/// on one rank are whole already, and are left alone. The same bits on every rank.
///
/// With a MoeLayer, whose experts every rank has, this is data parallelism alone; with a
/// DistributedMoeLayer it is both at once.
///
/// \code
///   layer.backward(x, dy, pass);
///   reduce_gradients(world, layer, pass.gradients(layer));
///   adam.step(layer, pass);
/// \endcode
/// \param gradients  of the model
/// \param order      in which ranks are added
/// \throws std::invalid_argument if the gradients are of another model
/// \throws CommunicationError if another rank does not take part
/// \par Cost  one copy of these gradients, and what sum_over_ranks() sends of them
template <Communicator C, class Model>
void reduce_gradients(C& world, const Model& model, GradientView<typename Model::Scalar> gradients,
                      SumOrder order = SumOrder::ranks) {
  using S = typename Model::Scalar;
  gradients.validate("reduce_gradients", model);
  if (world.size() == 1) return;
  const auto own = own_tensors(model);
  std::vector<S> all;  // one call for all tensors
  for (Index i = 0; i < gradients.size(); ++i)
    if (own[std::size_t(i)] == 0) {
      const auto tensor = gradients[i];
      all.insert(all.end(), tensor.data(), tensor.data() + tensor.size());
    }
  sum_over_ranks(world, std::span(all), order);
  const S* next = all.data();
  for (Index i = 0; i < gradients.size(); ++i)
    if (own[std::size_t(i)] == 0) {
      auto tensor = gradients[i];
      std::copy_n(next, tensor.size(), tensor.data());
      next += tensor.size();
    }
}

/// \brief Shortens the gradients of a model that is spread over ranks: g *= max_norm / |g| if |g| >
/// max_norm, |g| being the norm of what every rank has, counted once, and of every expert wherever
/// it lives. Call it after reduce_gradients().
/// \param gradients  of the model, those of what every rank has being the same everywhere
/// \param max_norm   > 0
/// \return |g| as it was before, summed in double; the same bits on every rank, and for any number
///         of them as long as the gradients have the same bits
/// \throws std::invalid_argument if max_norm is not a finite number > 0
/// \throws NotFinite on every rank, if a gradient is not finite or the norm overflows; nothing is
///         changed then
/// \throws CommunicationError if another rank does not take part
/// \see clip_by_global_norm(gradients, max_norm) of one process
template <Communicator C, class Model>
double clip_by_global_norm(C& world, const Model& model,
                           GradientView<typename Model::Scalar> gradients, double max_norm) {
  using S = typename Model::Scalar;
  constexpr const char* where = "clip_by_global_norm";
  detail::check_positive(where, "max_norm", max_norm);
  gradients.validate(where, model);
  const auto own = own_tensors(model);
  // A sum per tensor, and then over tensors: first those of all ranks that have them alone, in
  // the order of ranks, which is that of experts.
  std::vector<double> alone, shared;
  for (Index i = 0; i < gradients.size(); ++i) {
    const auto tensor = gradients[i];
    double sum = 0;
    for (Index j = 0; j < tensor.size(); ++j) {
      const double value = double(tensor.data()[j]);
      sum += value * value;
    }
    (own[std::size_t(i)] != 0 ? alone : shared).push_back(sum);
  }
  const auto counts = all_gather(world, Index(alone.size()));
  Index total = 0;
  for (const Index count : counts) total += count;
  std::vector<double> everywhere(static_cast<std::size_t>(total));
  all_gather(world, alone, counts, std::span(everywhere));
  double sum = 0;
  for (const double each : everywhere) sum += each;
  for (const double each : shared) sum += each;
  if (!std::isfinite(sum)) [[unlikely]] {
    for (Index i = 0; i < gradients.size(); ++i)
      detail::check_finite<S>(where, "gradients[" + std::to_string(i) + "]", gradients[i]);
    detail::raise_not_finite(where, "the norm of the gradients",
                             "overflows, or a gradient of another rank is not finite");
  }
  const double norm = std::sqrt(sum);
  if (norm > max_norm)
    for (Index i = 0; i < gradients.size(); ++i) gradients[i] *= S(max_norm / norm);
  return norm;
}

}  // namespace comet
