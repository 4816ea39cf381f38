// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

namespace comet {

/// \brief One rank: what is written for many runs alone.
class SelfCommunicator {
 public:
  /// 0.
  [[nodiscard]] Index rank() const noexcept { return 0; }
  /// 1.
  [[nodiscard]] Index size() const noexcept { return 1; }
  /// Nobody is waited for.
  [[nodiscard]] double time_limit() const noexcept { return 0; }

  /// \brief in = out. \see Communicator
  void all_to_all(std::span<const std::byte> out, std::span<const Index> out_counts,
                  std::span<std::byte> in, std::span<const Index> in_counts, Index item_size) {
    constexpr const char* where = "SelfCommunicator::all_to_all";
    detail::check_all_to_all(where, 1, out, out_counts, in, in_counts, item_size);
    detail::check_equal(where, "in.size()", Index(in.size()), "out.size()", Index(out.size()));
    std::copy(out.begin(), out.end(), in.begin());
  }
  /// \brief in = out. \see Communicator
  void all_gather(std::span<const std::byte> out, std::span<const Index> counts,
                  std::span<std::byte> in, Index item_size) {
    detail::check_all_gather("SelfCommunicator::all_gather", 0, 1, out, counts, in, item_size);
    std::copy(out.begin(), out.end(), in.begin());
  }
  /// \brief Nothing. \see Communicator
  void broadcast(std::span<std::byte> /*bytes*/, Index root) {
    detail::check_root("SelfCommunicator::broadcast", root, 1);
  }
  /// \brief Nothing. \see Communicator
  void barrier() {}
};

}  // namespace comet
