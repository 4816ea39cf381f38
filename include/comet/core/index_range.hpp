// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A run of numbered things, `first` .. `last - 1`.
struct IndexRange {
  Index first = 0;  ///< The first of them.
  Index last = 0;   ///< One behind the last of them.

  /// How many.
  [[nodiscard]] Index size() const noexcept { return last - first; }

  friend bool operator==(const IndexRange&, const IndexRange&) = default;
};

/// \brief The piece of 0..n-1 that falls to one of several: pieces follow each other and differ by
/// at most one in size. With fewer things than takers some have none.
/// \param n       >= 0
/// \param taker   in 0..takers-1
/// \param takers  >= 1
/// \throws std::invalid_argument if a number is outside its bounds
[[nodiscard]] inline IndexRange share_of(Index n, Index taker, Index takers) {
  constexpr const char* where = "share_of";
  detail::check_at_least(where, "n", n, 0);
  detail::check_at_least(where, "takers", takers, 1);
  detail::check_at_least(where, "taker", taker, 0);
  detail::check_at_most(where, "taker", taker, "takers - 1", takers - 1);
  const Index each = n / takers, rest = n % takers;
  const Index first = taker * each + std::min(taker, rest);
  return {first, first + each + Index(taker < rest)};
}

}  // namespace comet
