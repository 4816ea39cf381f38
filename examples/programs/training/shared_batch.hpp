// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/distributed/collectives.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/ranks.hpp>

/// \file
/// \brief A batch whose rows are shared by ranks: what all of them have of it, on every rank.

namespace programs {

/// \brief A list of all ranks, one behind the other.
template <class T>
[[nodiscard]] std::vector<T> gathered(Ranks& ranks, std::span<const T> mine) {
  const auto sizes = comet::all_gather(ranks, comet::Index(mine.size()));
  std::vector<T> all(
      static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), comet::Index(0))));
  comet::all_gather(ranks, mine, sizes, std::span(all));
  return all;
}

/// \brief The routings of the whole batch, as one process would have them.
/// \param routings  of the rows here, one per gate
template <class S>
[[nodiscard]] std::vector<comet::Routing<S>> gathered_routings(
    Ranks& ranks, std::span<const comet::Routing<S>> routings) {
  std::vector<comet::Routing<S>> whole;
  for (const comet::Routing<S>& here : routings) {
    std::vector<std::int32_t> row_sizes;
    for (comet::Index b = 0; b < here.num_samples(); ++b)
      row_sizes.push_back(std::int32_t(here.experts(b).size()));
    comet::Routing<S>& all = whole.emplace_back();
    all.resize(gathered(ranks, std::span<const std::int32_t>(row_sizes)));
    const auto sizes = comet::all_gather(ranks, here.num_entries());
    comet::all_gather(ranks, here.experts(), sizes, all.experts());
    comet::all_gather(ranks, here.weights(), sizes, all.weights());
  }
  return whole;
}

/// \brief Adds up the parts of a loss over ranks: each is a mean over the rows here times the share
/// that they are of the batch.
inline void sum_parts(Ranks& ranks, TrainingLoss& loss) {
  std::vector<double> values;
  for (const Measure& part : loss.parts) values.push_back(part.value);
  comet::sum_over_ranks(ranks, std::span(values));
  for (std::size_t i = 0; i < values.size(); ++i) loss.parts[i].value = values[i];
}

}  // namespace programs
