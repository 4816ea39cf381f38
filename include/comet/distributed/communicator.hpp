// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/index_range.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What ranks need of each other: the engine under expert and data parallelism. A rank is
/// one of the processes, or threads, that train one model together.

namespace comet {

/// \brief A call among ranks that did not come to its end: another rank has failed, has ended, is
/// late or is in another call. The communicator is of no use from then on.
class CommunicationError : public std::runtime_error {
 public:
  /// \param where  the call, e.g. "ThreadCommunicator::barrier"
  /// \param rank   who speaks
  /// \param what   the rest of the sentence
  CommunicationError(std::string_view where, Index rank, std::string_view what)
      : std::runtime_error("comet::" + std::string(where) + ": rank " + std::to_string(rank) + ' ' +
                           std::string(what)),
        where_(where),
        rank_(rank) {}

  /// The call that did not come to its end.
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  /// The rank that says so.
  [[nodiscard]] Index rank() const noexcept { return rank_; }

 private:
  std::string where_;
  Index rank_;
};

/// \brief Moves bytes between ranks. One object a rank; every rank makes the same calls in the same
/// order.
///
/// - `rank()` of `size()`; `time_limit()`, the seconds after which a call that waits for others
///   throws CommunicationError.
/// - `all_to_all(out, out_counts, in, in_counts, item_size)`: out holds a piece for each rank, in
///   the order of ranks, in receives one from each. Counts are in items of item_size bytes and may
///   be 0 or differ; both ends have to agree on each of them, so that whoever does not know sends
///   the counts first.
/// - `all_gather(out, counts, in, item_size)`: everyone receives everyone's out, in the order of
///   ranks; counts are those of all ranks.
/// - `broadcast(bytes, root)`: everyone receives what root has.
/// - `barrier()`: returns when every rank has called it.
///
/// Counts are of type Index: nothing overflows where an engine below counts in int. Sums are no
/// part of it: they are made of these calls, in an order of their own (collectives.hpp), so that
/// every communicator gives the same bits. Laws: testing/communicator_laws.hpp.
template <class C>
concept Communicator = requires(C& world, const C& seen, std::span<const std::byte> out,
                                std::span<const Index> counts, std::span<std::byte> in,
                                Index number) {
  { seen.rank() } -> std::convertible_to<Index>;
  { seen.size() } -> std::convertible_to<Index>;
  { seen.time_limit() } -> std::convertible_to<double>;
  world.all_to_all(out, counts, in, counts, number);
  world.all_gather(out, counts, in, number);
  world.broadcast(in, number);
  world.barrier();
};

/// \brief The piece of 0..n-1 that falls to this rank: of the experts of a layer, of the rows of a
/// batch.
/// \param n  >= 0
template <Communicator C>
[[nodiscard]] IndexRange share_of(Index n, const C& world) {
  return share_of(n, world.rank(), world.size());
}

namespace detail {

/// Bytes of so many items; the sum of counts on the way.
inline Index check_counts(std::string_view where, std::string_view name,
                          std::span<const Index> counts, Index size) {
  check_equal(where, std::string(name) + ".size()", Index(counts.size()), "size()", size);
  Index sum = 0;
  for (const Index count : counts) {
    check_at_least(where, std::string("a count of ") + std::string(name), count, 0);
    sum += count;
  }
  return sum;
}

/// What every all_to_all() asks of its arguments.
inline void check_all_to_all(std::string_view where, Index size, std::span<const std::byte> out,
                             std::span<const Index> out_counts, std::span<const std::byte> in,
                             std::span<const Index> in_counts, Index item_size) {
  check_at_least(where, "item_size", item_size, 1);
  check_equal(where, "out.size()", Index(out.size()), "item_size * sum of out_counts",
              item_size * check_counts(where, "out_counts", out_counts, size));
  check_equal(where, "in.size()", Index(in.size()), "item_size * sum of in_counts",
              item_size * check_counts(where, "in_counts", in_counts, size));
}

/// What every all_gather() asks of its arguments.
inline void check_all_gather(std::string_view where, Index rank, Index size,
                             std::span<const std::byte> out, std::span<const Index> counts,
                             std::span<const std::byte> in, Index item_size) {
  check_at_least(where, "item_size", item_size, 1);
  check_equal(where, "in.size()", Index(in.size()), "item_size * sum of counts",
              item_size * check_counts(where, "counts", counts, size));
  check_equal(where, "out.size()", Index(out.size()), "item_size * counts[rank]",
              item_size * counts[std::size_t(rank)]);
}

/// What every broadcast() asks of its arguments.
inline void check_root(std::string_view where, Index root, Index size) {
  check_at_least(where, "root", root, 0);
  check_at_most(where, "root", root, "size() - 1", size - 1);
}

}  // namespace detail

}  // namespace comet
