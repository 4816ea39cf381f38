// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>

#include <support/saturate.hpp>

/// \file
/// \brief One sample at a time, gate and experts, in one thread: what a request costs at the median
/// and at the 99th percentile.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;

template <class Gate>
void predict_one(benchmark::State& state) {
  constexpr Index n = 64, d = 256, m = 256, samples = 257;
  const RandomKey key(1);
  Gate gate({.input_dim = d, .num_experts = n, .k = 2}, key);
  bench::saturate(gate);
  const comet::MoeLayer layer(
      gate, comet::make_experts<comet::DenseExpert<S>>(n, {.input_dim = d, .output_dim = m}, key));
  comet::Pass pass(layer);
  comet::Matrix<S> x(d, samples), y(m, 1);
  RandomKey(2).fill_uniform(x, -1, 1);
  std::vector<double> times;
  Index sample = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    layer.predict(x.col(sample), y, pass);
    benchmark::DoNotOptimize(y.data());
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
    sample = (sample + 1) % samples;
  }
  const auto percentile = [&](double share) {
    const auto place = times.begin() + std::ptrdiff_t(share * double(times.size() - 1));
    std::nth_element(times.begin(), place, times.end());
    return *place;
  };
  state.counters["p50_us"] = percentile(0.5);
  state.counters["p99_us"] = percentile(0.99);
}
BENCHMARK_TEMPLATE(predict_one, comet::CometGate<S>)
    ->Name("latency/comet/n=64/k=2/d=256/m=256/B=1/f32")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(predict_one, comet::TopKGate<S>)
    ->Name("latency/top_k/n=64/k=2/d=256/m=256/B=1/f32")
    ->Unit(benchmark::kMicrosecond);

}  // namespace
