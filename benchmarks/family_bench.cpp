// SPDX-License-Identifier: MIT
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/random.hpp>
#include <comet/gates/make_gate.hpp>

#include <support/saturate.hpp>

/// \file
/// \brief Every gate of the family on a batch: route() of inference and forward() of training.
/// COMET and DSelect-k are saturated.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;
using Gate = comet::AnyGate<S>;

constexpr Index dim = 256, samples = 512;

Gate make(const std::string& name, Index n) {
  comet::GateOptions options{.input_dim = dim, .num_experts = n, .k = 2};
  if (name == comet::HashGate<S>::name) options.num_ids = samples;
  Gate gate = comet::make_gate<S>(name, options, RandomKey(1));
  if (auto* comet = gate.get_if<comet::CometGate<S>>()) bench::saturate(*comet);
  if (auto* dselect_k = gate.get_if<comet::DSelectKGate<S>>()) bench::saturate(*dselect_k);
  return gate;
}

enum class Mode { route, forward };

void run(benchmark::State& state, const std::string& name, Index n, Mode mode) {
  const Gate gate = make(name, n);
  comet::Pass pass(gate);
  comet::Routing<S> routing;
  comet::Matrix<S> x(dim, samples);
  RandomKey(2).fill_uniform(x, -1, 1);
  std::vector<std::int32_t> ids(samples);
  std::iota(ids.begin(), ids.end(), 0);
  const comet::Samples<S> batch(x, ids);
  RandomKey key(3);
  std::uint64_t step = 0;
  for (auto _ : state) {
    if (mode == Mode::route) {
      gate.route(batch, routing, pass);
    } else {
      gate.forward(batch, routing, key.fold(++step), pass);
    }
    benchmark::ClobberMemory();
  }
  state.counters["experts_per_sample"] = double(routing.num_entries()) / double(samples);
}

const bool registered = [] {
  for (const auto name : comet::GateFamily<S>::names)
    for (const Index n : {16, 64, 256, 1024})
      for (const Mode mode : {Mode::route, Mode::forward})
        benchmark::RegisterBenchmark(
            ((mode == Mode::route ? "route/" : "forward/") + std::string(name) +
             "/n=" + std::to_string(n) + "/k=2/d=256/B=512/f32")
                .c_str(),
            run, std::string(name), n, mode)
            ->Unit(benchmark::kMicrosecond);
  return true;
}();

}  // namespace
