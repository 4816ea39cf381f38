// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

namespace comet {

/// \brief Counts what a rank sends to others on its way through another communicator.
///
/// \code
///   CountingCommunicator counting(world);
///   DistributedMoeLayer layer(counting, gate, experts);
///   ...
///   std::printf("%td bytes in %td calls\n", counting.bytes(), counting.calls());
/// \endcode
template <Communicator C>
class CountingCommunicator {
 public:
  /// \param world  must stay
  explicit CountingCommunicator(C& world) : world_(&world) {}

  /// Of the communicator inside.
  [[nodiscard]] Index rank() const { return world_->rank(); }
  /// Of the communicator inside.
  [[nodiscard]] Index size() const { return world_->size(); }
  /// Of the communicator inside.
  [[nodiscard]] double time_limit() const { return world_->time_limit(); }

  /// Bytes that this rank has sent to others.
  [[nodiscard]] Index bytes() const noexcept { return bytes_; }
  /// Calls that this rank has made.
  [[nodiscard]] Index calls() const noexcept { return calls_; }
  /// Starts to count anew.
  void reset() noexcept { bytes_ = calls_ = 0; }

  /// \see Communicator
  void all_to_all(std::span<const std::byte> out, std::span<const Index> out_counts,
                  std::span<std::byte> in, std::span<const Index> in_counts, Index item_size) {
    world_->all_to_all(out, out_counts, in, in_counts, item_size);
    ++calls_;
    bytes_ += Index(out.size()) - item_size * out_counts[std::size_t(rank())];
  }
  /// \see Communicator
  void all_gather(std::span<const std::byte> out, std::span<const Index> counts,
                  std::span<std::byte> in, Index item_size) {
    world_->all_gather(out, counts, in, item_size);
    ++calls_;
    bytes_ += Index(out.size()) * (size() - 1);
  }
  /// \see Communicator
  void broadcast(std::span<std::byte> bytes, Index root) {
    world_->broadcast(bytes, root);
    ++calls_;
    if (root == rank()) bytes_ += Index(bytes.size()) * (size() - 1);
  }
  /// \see Communicator
  void barrier() {
    world_->barrier();
    ++calls_;
  }

 private:
  C* world_;
  Index bytes_ = 0;
  Index calls_ = 0;
};

}  // namespace comet
