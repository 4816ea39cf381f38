// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include <comet/core/types.hpp>

/// \file
/// \brief Times of single calls, for medians and what few of them exceed, and the least that any
/// use of some numbers takes: reading them.

namespace bench {

using Clock = std::chrono::steady_clock;

inline double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// \param share  0.5 for the median \param values  at least one; their order changes
inline double percentile(std::vector<double>& values, double share) {
  const auto place = values.begin() + std::ptrdiff_t(share * double(values.size() - 1));
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

/// The sum of them, read in four streams, which memory gives faster than one.
template <class S>
S sum_of(std::span<const S> numbers) {
  const Eigen::Map<const Eigen::Array<S, Eigen::Dynamic, 1>> all(numbers.data(),
                                                                 comet::Index(numbers.size()));
  const comet::Index part = all.size() / 4;
  return (all.segment(0, part) + all.segment(part, part) + all.segment(2 * part, part) +
          all.segment(3 * part, part))
             .sum() +
         all.tail(all.size() - 4 * part).sum();
}

}  // namespace bench
