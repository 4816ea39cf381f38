// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief Several parts with the same options, each with random numbers of its own: the experts of
/// a layer, or the gates of its tasks.
/// \param count  >= 0
template <class Part>
[[nodiscard]] std::vector<Part> make_parts(Index count, const typename Part::Options& options,
                                           RandomKey key) {
  detail::check_at_least("make_parts", "count", count, 0);
  std::vector<Part> parts;
  parts.reserve(std::size_t(count));
  for (Index i = 0; i < count; ++i) parts.emplace_back(options, key.fold(std::uint64_t(i)));
  return parts;
}

}  // namespace comet
