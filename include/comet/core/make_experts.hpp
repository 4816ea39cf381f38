// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/index_range.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

namespace detail {

template <class Part>
std::vector<Part> make_parts(const char* where, IndexRange numbers,
                             const typename Part::Options& options, RandomKey key) {
  check_at_least(where, "count", numbers.size(), 0);
  std::vector<Part> parts;
  parts.reserve(std::size_t(numbers.size()));
  for (Index i = numbers.first; i < numbers.last; ++i)
    parts.emplace_back(options, key.fold(std::uint64_t(i)));
  return parts;
}

}  // namespace detail

/// \brief The experts of a layer: the same options, random numbers of their own.
/// \param count  >= 0
template <class Expert>
[[nodiscard]] std::vector<Expert> make_experts(Index count, const typename Expert::Options& options,
                                               RandomKey key) {
  return detail::make_parts<Expert>("make_experts", {0, count}, options, key);
}
/// \brief Some of them, the same as among all: those of one rank of several.
/// \param numbers  which, e.g. share_of(64, world)
template <class Expert>
[[nodiscard]] std::vector<Expert> make_experts(IndexRange numbers,
                                               const typename Expert::Options& options,
                                               RandomKey key) {
  return detail::make_parts<Expert>("make_experts", numbers, options, key);
}

/// \brief The gates of a layer's tasks: the same options, random numbers of their own.
/// \param count  >= 0
template <class Gate>
[[nodiscard]] std::vector<Gate> make_gates(Index count, const typename Gate::Options& options,
                                           RandomKey key) {
  return detail::make_parts<Gate>("make_gates", {0, count}, options, key);
}

}  // namespace comet
