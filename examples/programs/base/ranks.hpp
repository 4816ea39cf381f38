// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <thread>

#include <comet/core/index_range.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

/// \file
/// \brief The processes that do one command's work together, as a program sees them: it is not
/// compiled for one engine under them, which may be missing.

namespace programs {

/// \brief A rank among others, whatever moves the bytes: a comet::Communicator.
class Ranks {
 public:
  virtual ~Ranks() = default;

  [[nodiscard]] virtual comet::Index rank() const = 0;
  [[nodiscard]] virtual comet::Index size() const = 0;
  [[nodiscard]] virtual double time_limit() const = 0;
  virtual void all_to_all(std::span<const std::byte> out, std::span<const comet::Index> out_counts,
                          std::span<std::byte> in, std::span<const comet::Index> in_counts,
                          comet::Index item_size) = 0;
  virtual void all_gather(std::span<const std::byte> out, std::span<const comet::Index> counts,
                          std::span<std::byte> in, comet::Index item_size) = 0;
  virtual void broadcast(std::span<std::byte> bytes, comet::Index root) = 0;
  virtual void barrier() = 0;

  /// How many of them are on this machine, this one included, and share its cores.
  [[nodiscard]] virtual comet::Index size_here() const = 0;

  /// \brief To be called where a rank cannot go on. Returns if no rank can, and rank 0 is to say
  /// why; else says why and ends all of them with the exit status `code`.
  virtual void fail(int code, const std::string& line) = 0;
};

/// The ranks of a communicator. \tparam C  a comet::Communicator
template <comet::Communicator C>
class RanksOf : public Ranks {
 public:
  /// \param world  must stay
  explicit RanksOf(C& world) : world_(&world) {}

  [[nodiscard]] comet::Index rank() const override { return world_->rank(); }
  [[nodiscard]] comet::Index size() const override { return world_->size(); }
  [[nodiscard]] double time_limit() const override { return world_->time_limit(); }
  void all_to_all(std::span<const std::byte> out, std::span<const comet::Index> out_counts,
                  std::span<std::byte> in, std::span<const comet::Index> in_counts,
                  comet::Index item_size) override {
    world_->all_to_all(out, out_counts, in, in_counts, item_size);
  }
  void all_gather(std::span<const std::byte> out, std::span<const comet::Index> counts,
                  std::span<std::byte> in, comet::Index item_size) override {
    world_->all_gather(out, counts, in, item_size);
  }
  void broadcast(std::span<std::byte> bytes, comet::Index root) override {
    world_->broadcast(bytes, root);
  }
  void barrier() override { world_->barrier(); }

  /// All: threads, or processes on one machine.
  [[nodiscard]] comet::Index size_here() const override { return size(); }
  /// Returns: whoever made the communicator sees to the others.
  void fail(int /*code*/, const std::string& /*line*/) override {}

 private:
  C* world_;
};

/// Whether this rank writes files and speaks for all: rank 0, and a process that is alone.
[[nodiscard]] inline bool speaks(const Ranks* ranks) {
  return ranks == nullptr || ranks->rank() == 0;
}

/// This rank's piece of 0..n-1; all of it of a process that is alone.
[[nodiscard]] inline comet::IndexRange share_of(comet::Index n, const Ranks* ranks) {
  return ranks == nullptr ? comet::IndexRange{0, n} : comet::share_of(n, *ranks);
}

/// Whether the i-th of many things falls to this rank, where ranks take turns.
[[nodiscard]] inline bool is_turn_of(const Ranks* ranks, std::size_t i) {
  return ranks == nullptr || comet::Index(i) % ranks->size() == ranks->rank();
}

/// \brief Threads of a rank: so many as are asked for, or its part of the machine's cores.
/// \param asked  0 for all cores
[[nodiscard]] inline comet::Index threads_of_rank(comet::Index asked, const Ranks* ranks) {
  if (asked > 0 || ranks == nullptr) return asked;
  return std::max(comet::Index(1),
                  comet::Index(std::thread::hardware_concurrency()) / ranks->size_here());
}

}  // namespace programs
