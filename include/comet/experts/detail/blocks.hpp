// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/plan.hpp>

namespace comet::detail {

/// A run of columns of one expert: mostly a task for a thread.
struct Block {
  std::int32_t expert;  ///< as the plan counts them
  Index first;          ///< of the expert's columns
  Index width;
};

/// Cuts the columns of `count` experts from `first_expert` on into blocks of nearly equal width, at most about
/// `most_columns` and a multiple of `multiple`; widest first, so that short ones fill the gaps at the end.
inline void cut_blocks(const DispatchPlan& plan, Index first_expert, Index count,
                       Index most_columns, Index multiple, std::vector<Block>& blocks) {
  blocks.clear();
  const Index units_per_block = std::max(Index(1), most_columns / multiple);
  for (Index e = first_expert; e < first_expert + count; ++e) {
    if (plan.padded_count(e) == 0) continue;
    const Index units = plan.padded_count(e) / multiple;
    const Index pieces = (units + units_per_block - 1) / units_per_block;
    for (Index i = 0; i < pieces; ++i) {
      const Index first = units * i / pieces;
      const Index last = units * (i + 1) / pieces;
      blocks.push_back({std::int32_t(e), first * multiple, (last - first) * multiple});
    }
  }
  std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
    if (a.width != b.width) return a.width > b.width;
    return a.expert != b.expert ? a.expert < b.expert : a.first < b.first;
  });
}

/// Puts blocks in the order of the columns.
inline void sort_by_expert(std::vector<Block>& blocks) {
  std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
    return a.expert != b.expert ? a.expert < b.expert : a.first < b.first;
  });
}

/// The largest width of blocks as they were cut.
inline Index widest(const std::vector<Block>& blocks) {
  return blocks.empty() ? 0 : blocks.front().width;
}

/// \brief How many columns to make room for where an expert has `columns` now: it has others the
/// next time, all of the batch at most. That many if they are few, else twice as many.
inline Index columns_ahead(const DispatchPlan& plan, Index columns, Index multiple) {
  constexpr Index few = 256;
  const Index all = (plan.num_samples() + multiple - 1) / multiple * multiple;
  return std::clamp(std::max(few, 2 * columns), columns, std::max(columns, all));
}

/// Multiply-adds of all experts' columns. Experts without any are not looked at: with one sample,
/// most are not in the processor's caches.
template <class E>
double total_cost(const std::vector<E>& experts, const DispatchPlan& plan, Index first_expert) {
  double cost = 0;
  for (Index number = 0; number < Index(experts.size()); ++number)
    if (const Index count = plan.padded_count(first_expert + number); count > 0)
      cost += double(count) * double(experts[std::size_t(number)].cost());
  return cost;
}

/// A part of the parameter gradients of an expert: a task for a thread.
struct Slice {
  std::int32_t number;  ///< of the expert, from the first
  std::int32_t slice;
};

/// Slices of all experts that have columns; as many experts in turn as there are workers, so that
/// a worker mostly goes on with the expert whose columns it has gathered. Experts may have more or
/// fewer of them than their neighbours.
/// \return the most columns that one has
template <class E>
Index cut_slices(const std::vector<E>& experts, const DispatchPlan& plan, Index first_expert,
                 Index workers, std::vector<Slice>& slices) {
  const auto slices_of = [&](Index number) -> Index {
    if (plan.count(first_expert + number) == 0) return 0;
    if constexpr (SplitBackwardExpert<E>) return experts[std::size_t(number)].num_slices();
    return 1;
  };
  const Index num_experts = Index(experts.size());
  Index most_columns = 0;
  slices.clear();
  for (Index first = 0, last = 0; first < num_experts; first = last) {
    Index most_slices = 0;
    for (Index taken = 0; last < num_experts && taken < workers; ++last) {
      most_columns = std::max(most_columns, plan.count(first_expert + last));
      most_slices = std::max(most_slices, slices_of(last));
      taken += slices_of(last) > 0 ? 1 : 0;
    }
    for (Index slice = 0; slice < most_slices; ++slice)
      for (Index number = first; number < last; ++number)
        if (slice < slices_of(number))
          slices.push_back({std::int32_t(number), std::int32_t(slice)});
  }
  return most_columns;
}

}  // namespace comet::detail
