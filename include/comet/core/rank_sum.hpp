// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include <comet/core/types.hpp>

namespace comet {

/// \brief Makes sums over the samples here sums over those of all ranks; without ranks it leaves
/// them alone.
///
/// A gate whose penalty looks at the whole batch (a mean row, a load) calls it on the sums that the
/// penalty is made of. Every rank makes the same calls in the same order, also one that has no
/// samples: whether a call is made may depend on options, never on the batch.
///
/// A view: what it was made from has to stay.
class RankSum {
 public:
  /// The batch is all here.
  RankSum() = default;
  /// \param context  handed to `call`
  /// \param call     call(context, sums) adds up every number over all ranks, to the same bits on
  ///                 each
  RankSum(void* context, void (*call)(void* context, std::span<double> sums)) noexcept
      : context_(context), call_(call) {}

  /// Whether the batch is shared with other ranks.
  [[nodiscard]] explicit operator bool() const noexcept { return call_ != nullptr; }

  /// Adds up every number over all ranks.
  void operator()(std::span<double> sums) const {
    if (call_ != nullptr) call_(context_, sums);
  }
  /// The sum of a number over all ranks.
  [[nodiscard]] double operator()(double sum) const {
    (*this)(std::span(&sum, 1));
    return sum;
  }
  /// The sum of a number of samples over all ranks, exact below 2^53.
  [[nodiscard]] Index count(Index samples) const { return Index((*this)(double(samples))); }

 private:
  void* context_ = nullptr;
  void (*call_)(void*, std::span<double>) = nullptr;
};

}  // namespace comet
