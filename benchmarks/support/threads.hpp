// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/types.hpp>

namespace bench {

/// \brief Registers a benchmark of f(state, threads) as NAME/threads=N/f32, for one thread and two.
inline bool add_by_threads(const std::string& name, void (*f)(benchmark::State&, comet::Index)) {
  for (const comet::Index threads : {1, 2})
    benchmark::RegisterBenchmark((name + "/threads=" + std::to_string(threads) + "/f32").c_str(), f,
                                 threads)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  return true;
}

}  // namespace bench
