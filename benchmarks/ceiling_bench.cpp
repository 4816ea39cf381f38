// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/optimizers/adam.hpp>
#include <comet/parameters.hpp>
#include <support/ceiling.hpp>

/// \file
/// \brief The limits of the machine as compiled, and Adam, which runs against the memory's.

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

struct Model {
  using Scalar = S;
  comet::Parameter<S> weight;
  template <class F>
  void visit_parameters(F&& f) {
    weight.visit("weight", f);
  }
};

void adam_step(benchmark::State& state, Index parameters, Index threads) {
  comet::ThreadPool pool(threads);
  Model model{{256, parameters / 256}};
  comet::Adam<S> adam({.learning_rate = 1e-6}, &pool);
  for (auto _ : state) adam.step(model);
  // Reads values, gradients and two moments; writes all four.
  state.SetBytesProcessed(state.iterations() * parameters * 8 * Index(sizeof(S)));
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
    for (const Index parameters : {1 << 16, 1 << 22})
      benchmark::RegisterBenchmark(
          ("adam/parameters=" + std::to_string(parameters) + suffix).c_str(), adam_step, parameters,
          threads)
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
  }
  return true;
}();

}  // namespace
