// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/nh_hash.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief The forward() of a gate that backward() may follow: whose it was, the size of its batch
/// and which experts its rows had. What backward() finds in its scratch is of that size.
class GateForward {
 public:
  void clear() noexcept { num_samples_ = -1; }
  /// \param samples  a Samples
  template <class Samples, class S>
  void set(const Identity& gate, const Samples& samples, const Routing<S>& routing) {
    gate_ = gate.number();
    dim_ = samples.dim();
    num_samples_ = samples.size();
    num_entries_ = routing.num_entries();
    rows_ = hash(routing);
  }
  /// Size of its batch, padding included; negative if there was none.
  [[nodiscard]] Index num_samples() const noexcept { return num_samples_; }

  /// \brief What is left to check where the number of samples has been.
  template <class S>
  void check(std::string_view where, const Identity& gate, Index dim,
             const Routing<S>& routing) const {
    if (gate.number() != gate_) [[unlikely]]
      raise(where, "the pass holds a forward() of another gate");
    check_equal(where, "x.rows()", dim, "features of the last forward()", dim_);
    check_equal(where, "routing.num_entries()", routing.num_entries(),
                "entries of the last forward()", num_entries_);
    if (hash(routing) != rows_) [[unlikely]]
      raise(where, "the routing has other experts in its rows than that of the last forward()");
  }

 private:
  template <class S>
  static std::uint64_t hash(const Routing<S>& routing) {
    const auto of = [](const auto& list) { return nh_hash(list.data(), list.size_bytes()); };
    return of(routing.offsets()) + 3 * of(routing.experts());
  }

  std::uint64_t gate_ = 0;
  Index dim_ = 0;
  Index num_samples_ = -1;
  Index num_entries_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace comet::detail
