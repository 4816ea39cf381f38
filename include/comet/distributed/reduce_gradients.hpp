// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/distributed/replicated.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

/// \file
/// \brief Gradients over ranks. One convention for factors: the loss is a mean over the rows of all
/// ranks, so each rank scales the derivatives of its own mean by share_of_rows(), and what follows
/// are sums, whoever takes them.

namespace comet {

namespace detail {

/// Whether all of them are +0, seen by their bytes: as fast as memory is read.
template <class S>
[[nodiscard]] bool is_all_zero(const S* values, Index size) {
  return size == 0 || (values[0] == S(0) && !std::signbit(values[0]) &&
                       std::memcmp(values, values + 1, std::size_t(size - 1) * sizeof(S)) == 0);
}

/// Per tensor, whether every rank has it and a rank has a gradient of it: the same on all ranks.
template <Communicator C, class Model>
[[nodiscard]] std::vector<std::uint8_t> tensors_to_reduce(
    C& world, const Model& model, GradientView<typename Model::Scalar> gradients) {
  auto travels = own_tensors(model);
  std::vector<std::uint8_t> here;
  for (Index i = 0; i < gradients.size(); ++i)
    if (travels[std::size_t(i)] == 0)
      here.push_back(std::uint8_t(!is_all_zero(gradients[i].data(), gradients[i].size())));
  const std::size_t count = here.size();
  std::vector<std::uint8_t> all(count * std::size_t(world.size()));
  const std::vector<Index> counts(std::size_t(world.size()), Index(count));
  all_gather(world, here, counts, std::span(all));
  std::size_t next = 0;
  for (std::uint8_t& tensor : travels) {
    if (tensor != 0) {
      tensor = 0;
      continue;
    }
    for (std::size_t at = next; at < all.size(); at += count) tensor |= all[at];
    ++next;
  }
  return travels;
}

}  // namespace detail

/// \brief Memory of reduce_gradients(): kept from step to step, it is taken from the system once.
template <class S>
struct ReduceBuffers {
  std::vector<S> values;  ///< Gradients that every rank has, one behind the other.
  std::vector<S> pieces;  ///< What ranks send of them.
};

/// \brief Adds up, over all ranks, the gradients of what every rank has. Those of experts that live
/// on one rank are whole already, and are left alone. The same bits on every rank.
///
/// With a MoeLayer, whose experts every rank has, this is data parallelism alone; with a
/// DistributedMoeLayer it is both at once. Tensors whose gradient is 0 on all ranks, those of
/// experts without rows above all, stay where they are.
///
/// \code
///   layer.backward(x, dy, pass);
///   reduce_gradients(world, layer, pass.gradients(layer));
///   adam.step(layer, pass);
/// \endcode
/// \param gradients  of the model
/// \param order      in which ranks are added
/// \param buffers    of the steps before
/// \throws std::invalid_argument if the gradients are of another model
/// \throws CommunicationError if another rank does not take part
/// \par Cost  one copy of these gradients, and what sum_over_ranks() sends of them
template <Communicator C, class Model>
void reduce_gradients(C& world, const Model& model, GradientView<typename Model::Scalar> gradients,
                      SumOrder order, ReduceBuffers<typename Model::Scalar>& buffers) {
  using S = typename Model::Scalar;
  gradients.validate("reduce_gradients", model);
  if (world.size() == 1) return;
  const auto travels = detail::tensors_to_reduce(world, model, gradients);
  Index size = 0;
  for (Index i = 0; i < gradients.size(); ++i)
    if (travels[std::size_t(i)] != 0) size += gradients[i].size();
  buffers.values.resize(std::size_t(size));  // one call for all tensors
  S* end = buffers.values.data();
  for (Index i = 0; i < gradients.size(); ++i)
    if (travels[std::size_t(i)] != 0)
      end = std::copy_n(gradients[i].data(), gradients[i].size(), end);
  sum_over_ranks(world, std::span(buffers.values), order, buffers.pieces);
  const S* next = buffers.values.data();
  for (Index i = 0; i < gradients.size(); ++i)
    if (travels[std::size_t(i)] != 0) {
      auto tensor = gradients[i];
      std::copy_n(next, tensor.size(), tensor.data());
      next += tensor.size();
    }
}
/// \brief The same with memory of its own.
template <Communicator C, class Model>
void reduce_gradients(C& world, const Model& model, GradientView<typename Model::Scalar> gradients,
                      SumOrder order = SumOrder::ranks) {
  ReduceBuffers<typename Model::Scalar> buffers;
  reduce_gradients(world, model, gradients, order, buffers);
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
    for (Index i = 0; i < gradients.size(); ++i)
      detail::shorten<S>(norm, max_norm, gradients[i].array());
  return norm;
}

}  // namespace comet
