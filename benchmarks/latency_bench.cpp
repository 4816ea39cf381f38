// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/core/storage.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>

#include <support/saturate.hpp>
#include <support/timing.hpp>

/// \file
/// \brief One sample at a time, gate and experts, in one thread: what a request costs at the median
/// and at the 99th percentile, what it takes only to read the weights of its experts, and how much
/// less it is with weights kept in fewer bits.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;

constexpr Index n = 64, d = 256, m = 256;

/// A layer whose gate has decided.
template <class Gate>
auto decided_layer() {
  const RandomKey key(1);
  Gate gate({.input_dim = d, .num_experts = n, .k = 2}, key);
  bench::saturate(gate);
  return comet::MoeLayer(
      gate, comet::make_experts<comet::DenseExpert<S>>(n, {.input_dim = d, .output_dim = m}, key));
}

template <class Gate>
void predict_one(benchmark::State& state) {
  constexpr Index samples = 257;
  const auto layer = decided_layer<Gate>();
  comet::Pass pass(layer);
  comet::Matrix<S> x(d, samples), y(m, 1);
  RandomKey(2).fill_uniform(x, -1, 1);
  std::vector<double> predicting, reading;
  Index sample = 0;
  for (auto _ : state) {
    auto start = bench::Clock::now();
    layer.predict(x.col(sample), y, pass);
    benchmark::DoNotOptimize(y.data());
    predicting.push_back(bench::microseconds_since(start));
    sample = (sample + 1) % samples;

    // Of other experts than those just used, or they would be at hand.
    start = bench::Clock::now();
    for (const Index expert : pass.workspace.routing().experts(0)) {
      const auto& weight = layer.experts()[std::size_t((expert + n / 2) % n)].weight();
      benchmark::DoNotOptimize(
          bench::sum_of(std::span<const S>(weight.data(), std::size_t(weight.size()))));
    }
    reading.push_back(bench::microseconds_since(start));
  }
  state.counters["p50_us"] = bench::percentile(predicting, 0.5);
  state.counters["p99_us"] = bench::percentile(predicting, 0.99);
  state.counters["read_us"] = bench::percentile(reading, 0.5);
  state.counters["over_reading"] = state.counters["p50_us"] / state.counters["read_us"];
}
BENCHMARK_TEMPLATE(predict_one, comet::CometGate<S>)
    ->Name("latency/comet/n=64/k=2/d=256/m=256/B=1/f32")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(predict_one, comet::TopKGate<S>)
    ->Name("latency/top_k/n=64/k=2/d=256/m=256/B=1/f32")
    ->Unit(benchmark::kMicrosecond);

/// The same layer with its weights in full, in half and in eight bits, in turns.
template <class Gate>
void predict_stored(benchmark::State& state) {
  const Index batch = state.range(0);
  const Index batches = std::max(Index(1), 257 / batch);
  const auto layer = decided_layer<Gate>();
  const std::array served = {layer.freeze(), layer.freeze(comet::Storage::bf16),
                             layer.freeze(comet::Storage::int8)};
  comet::Matrix<S> x(d, batches * batch), y(m, batch);
  RandomKey(2).fill_uniform(x, -1, 1);
  comet::Pass pass(served[0]);
  std::array<std::vector<double>, served.size()> times;
  Index next = 0;
  for (auto _ : state)
    for (std::size_t i = 0; i < served.size(); ++i) {
      const auto start = bench::Clock::now();
      served[i].predict(x.middleCols(next * batch, batch), y, pass);
      benchmark::DoNotOptimize(y.data());
      times[i].push_back(bench::microseconds_since(start));
      // One that goes elsewhere, or the next of the layers would find its experts at hand.
      next = (next + 1) % batches;
    }
  const double full = bench::percentile(times[0], 0.5);
  state.counters["p50_us"] = full;
  state.counters["bf16_over_full"] = bench::percentile(times[1], 0.5) / full;
  state.counters["int8_over_full"] = bench::percentile(times[2], 0.5) / full;
}
BENCHMARK_TEMPLATE(predict_stored, comet::CometGate<S>)
    ->Name("storage/comet/n=64/k=2/d=256/m=256")
    ->ArgName("B")
    ->Arg(1)
    ->Arg(256)
    ->Arg(2048)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(predict_stored, comet::TopKGate<S>)
    ->Name("storage/top_k/n=64/k=2/d=256/m=256")
    ->ArgName("B")
    ->Arg(1)
    ->Arg(256)
    ->Arg(2048)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
