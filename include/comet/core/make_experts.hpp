// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

namespace detail {

template <class Part>
std::vector<Part> make_parts(const char* where, Index count, const typename Part::Options& options,
                             RandomKey key) {
  check_at_least(where, "count", count, 0);
  std::vector<Part> parts;
  parts.reserve(std::size_t(count));
  for (Index i = 0; i < count; ++i) parts.emplace_back(options, key.fold(std::uint64_t(i)));
  return parts;
}

}  // namespace detail

/// \brief The experts of a layer: the same options, random numbers of their own.
/// \param count  >= 0
template <class Expert>
[[nodiscard]] std::vector<Expert> make_experts(Index count, const typename Expert::Options& options,
                                               RandomKey key) {
  return detail::make_parts<Expert>("make_experts", count, options, key);
}

/// \brief The gates of a layer's tasks: the same options, random numbers of their own.
/// \param count  >= 0
template <class Gate>
[[nodiscard]] std::vector<Gate> make_gates(Index count, const typename Gate::Options& options,
                                           RandomKey key) {
  return detail::make_parts<Gate>("make_gates", count, options, key);
}

}  // namespace comet
