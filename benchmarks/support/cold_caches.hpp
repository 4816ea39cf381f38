// SPDX-License-Identifier: MIT
#pragma once

#include <ctime>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include <support/timing.hpp>

/// \file
/// \brief Calls as a model makes them: with other numbers in the caches, on a processor that others
/// use as well.

namespace bench {

/// Pushes everything else out of the caches.
inline void read_something_else() {
  static const std::vector<float> values(std::size_t{1} << 24, 1.0F);
  benchmark::DoNotOptimize(sum_of(std::span<const float>(values)));
}

/// Seconds of this thread's time on a processor.
template <class F>
double processor_seconds(F&& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
  };
  const double start = now();
  work();
  return now() - start;
}

}  // namespace bench
