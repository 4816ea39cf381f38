// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/thread_pool.hpp>
#include <support/ceiling.hpp>

/// \file
/// \brief The limits of the machine as compiled.

namespace {

using comet::Index;
using S = float;

void multiply_add(benchmark::State& state, Index threads) {
  comet::ThreadPool pool(threads);
  double flops = 0;
  for (auto _ : state) flops = bench::multiply_add_flops<S>(pool);
  state.counters["FLOP/s"] = flops;
}

void product(benchmark::State& state, Index columns, Index threads) {
  comet::ThreadPool pool(threads);
  double flops = 0;
  for (auto _ : state) flops = bench::product_flops<S>(256, 256, columns, pool);
  state.counters["FLOP/s"] = flops;
}

void stream(benchmark::State& state, Index threads) {
  comet::ThreadPool pool(threads);
  double bandwidth = 0;
  for (auto _ : state) bandwidth = bench::stream_bandwidth(pool);
  state.counters["B/s"] = bandwidth;
}

const bool registered = [] {
  for (const Index threads : {1, 2}) {
    const std::string suffix = "/threads=" + std::to_string(threads) + "/f32";
    const auto once = [](auto* benchmark) { benchmark->Iterations(1)->UseRealTime(); };
    once(benchmark::RegisterBenchmark(("ceiling/multiply_add" + suffix).c_str(), multiply_add,
                                      threads));
    for (const Index columns : {64, 512, 4096})
      once(benchmark::RegisterBenchmark(
          ("ceiling/product/d=256/m=256/B=" + std::to_string(columns) + suffix).c_str(), product,
          columns, threads));
    once(benchmark::RegisterBenchmark(("ceiling/stream" + suffix).c_str(), stream, threads));
  }
  return true;
}();

}  // namespace
