// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/rank_sum.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

/// \file
/// \brief What is made of a communicator's calls: exchanges of numbers instead of bytes, and sums
/// in an order that does not depend on the engine. Every rank calls them, in the same order.

namespace comet {

/// \brief A piece for each rank goes out, one from each comes in.
/// \param out         pieces in the order of ranks    \param out_counts  their sizes
/// \param in          overwritten                     \param in_counts   likewise
/// \throws std::invalid_argument if sizes and counts differ
/// \throws CommunicationError if another rank does not take part
template <class T, Communicator C>
requires std::is_trivially_copyable_v<T>
void all_to_all(C& world, std::span<const std::type_identity_t<T>> out,
                std::span<const Index> out_counts, std::span<T> in,
                std::span<const Index> in_counts) {
  world.all_to_all(std::as_bytes(out), out_counts, std::as_writable_bytes(in), in_counts,
                   Index(sizeof(T)));
}

/// \brief Everyone receives what everyone has, in the order of ranks.
/// \param counts  per rank, how much it has
template <class T, Communicator C>
requires std::is_trivially_copyable_v<T>
void all_gather(C& world, std::span<const std::type_identity_t<T>> out,
                std::span<const Index> counts, std::span<T> in) {
  world.all_gather(std::as_bytes(out), counts, std::as_writable_bytes(in), Index(sizeof(T)));
}
/// \brief The same of one number each.
template <class T, Communicator C>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::vector<T> all_gather(C& world, const T& value) {
  const std::vector<Index> ones(std::size_t(world.size()), 1);
  std::vector<T> all(std::size_t(world.size()));
  all_gather(world, std::span(&value, 1), ones, std::span(all));
  return all;
}

/// \brief Everyone receives what `root` has.
template <class T, Communicator C>
requires std::is_trivially_copyable_v<T>
void broadcast(C& world, std::span<T> values, Index root) {
  world.broadcast(std::as_writable_bytes(values), root);
}

/// \brief In which order numbers of several ranks are added: it decides the last bits.
enum class SumOrder {
  ranks,  ///< ((rank 0 + rank 1) + rank 2) + ...: that of one process which goes through the pieces
  tree,   ///< (rank 0 + rank 1) + (rank 2 + rank 3), ...: the same whether a power of two of pieces
          ///< lies in that many ranks or, summed by a TreeSum, in fewer
};

namespace detail {

/// Adds up `count` vectors of `size` numbers that lie one behind the other; the sum is the first.
template <class T>
void sum_vectors(T* vectors, Index count, Index size, SumOrder order) {
  const auto add = [&](Index to, Index from) {
    for (Index i = 0; i < size; ++i) vectors[to * size + i] += vectors[from * size + i];
  };
  if (order == SumOrder::ranks) {
    for (Index v = 1; v < count; ++v) add(0, v);
    return;
  }
  for (Index stride = 1; stride < count; stride *= 2)
    for (Index v = 0; v + stride < count; v += 2 * stride) add(v, v + stride);
}

/// Below this size, in bytes, a sum costs less if everyone gets everything than if everyone adds up
/// a piece and hands it around: one call instead of two.
inline constexpr Index small_sum = 4096;

/// Sizes of the pieces of `size` numbers, one for each rank.
inline void piece_sizes(Index size, Index ranks, std::vector<Index>& sizes) {
  sizes.clear();
  for (Index r = 0; r < ranks; ++r) sizes.push_back(share_of(size, r, ranks).size());
}

}  // namespace detail

/// \brief values = their sums over all ranks, the same bits on each, number by number.
/// \param values  of the same size on every rank
/// \param order   in which the ranks' numbers are added
/// \param all     what ranks send, kept by whoever sums as much again and again
/// \throws CommunicationError if another rank does not take part
/// \par Cost  each rank sends 2 (P - 1) / P of the values, below 4 KiB P - 1 times the values
template <class T, Communicator C>
void sum_over_ranks(C& world, std::span<T> values, SumOrder order, std::vector<T>& all) {
  static_assert(std::is_arithmetic_v<T>, "comet::sum_over_ranks: of numbers");
  const Index size = Index(values.size()), ranks = world.size();
  if (ranks == 1) return;
  std::vector<Index> counts(std::size_t(ranks), size);
  if (size * Index(sizeof(T)) <= detail::small_sum) {
    all.resize(std::size_t(size * ranks));
    all_gather(world, values, counts, std::span(all));
    detail::sum_vectors(all.data(), ranks, size, order);
    std::copy_n(all.begin(), size, values.begin());
    return;
  }
  std::vector<Index> pieces;
  detail::piece_sizes(size, ranks, pieces);
  const Index mine = pieces[std::size_t(world.rank())];
  std::fill(counts.begin(), counts.end(), mine);
  all.resize(std::size_t(mine * ranks));
  all_to_all(world, values, pieces, std::span(all), counts);
  detail::sum_vectors(all.data(), ranks, mine, order);
  all_gather(world, std::span(all).first(std::size_t(mine)), pieces, values);
}
/// \brief The same with memory of its own.
template <class T, Communicator C>
void sum_over_ranks(C& world, std::span<T> values, SumOrder order = SumOrder::ranks) {
  std::vector<T> all;
  sum_over_ranks(world, values, order, all);
}
/// \brief The sum of a number over all ranks.
template <class T, Communicator C>
requires std::is_arithmetic_v<T>
[[nodiscard]] T sum_over_ranks(C& world, T value) {
  sum_over_ranks(world, std::span(&value, 1));
  return value;
}

/// \brief For the `rank_sum` of a pass: makes the penalties of gates those of the batch of all
/// ranks. A DistributedMoeLayer sets it by itself; a MoeLayer whose batch is shared by ranks is
/// told so: `pass.rank_sum = make_rank_sum(world)`. Ranks are added in SumOrder::tree, as the
/// blocks of a BlockwiseGate are.
template <Communicator C>
[[nodiscard]] RankSum make_rank_sum(C& world) {
  return {&world, [](void* context, std::span<double> sums) {
            sum_over_ranks(*static_cast<C*>(context), sums, SumOrder::tree);
          }};
}

/// \brief What a mean over the batch here is worth in the mean over that of all ranks: rows here
/// over rows everywhere. Scale the loss and its derivatives by it where a loss is a mean over rows.
/// \param rows  of this rank, >= 0
/// \return 0 if there are none anywhere
template <Communicator C>
[[nodiscard]] double share_of_rows(C& world, Index rows) {
  detail::check_at_least("share_of_rows", "rows", rows, 0);
  const Index everywhere = sum_over_ranks(world, rows);
  return everywhere == 0 ? 0 : double(rows) / double(everywhere);
}

}  // namespace comet
