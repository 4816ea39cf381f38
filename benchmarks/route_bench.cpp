// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/random.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>

#include <support/saturate.hpp>

/// \file
/// \brief Gates at inference. COMET is saturated: its cost grows with log n, Top-k's with n.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;

template <class Gate>
Gate make_gate(Index n, Index k, Index d) {
  Gate gate({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1));
  bench::saturate(gate);
  return gate;
}

template <class Gate>
void route(benchmark::State& state, Index n, Index k, Index d, Index batch) {
  const Gate gate = make_gate<Gate>(n, k, d);
  comet::Pass pass(gate);
  comet::Routing<S> routing;
  comet::Matrix<S> x(d, batch);
  RandomKey(2).fill_uniform(x, -1, 1);
  for (auto _ : state) {
    gate.route(x, routing, pass);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["experts_per_sample"] = double(routing.num_entries()) / double(batch);
}

const bool registered = [] {
  const auto add = [](const std::string& gate, auto run, Index n, Index k, Index d, Index batch) {
    benchmark::RegisterBenchmark(
        ("route/" + gate + "/n=" + std::to_string(n) + "/k=" + std::to_string(k) +
         "/d=" + std::to_string(d) + "/B=" + std::to_string(batch) + "/f32")
            .c_str(),
        run, n, k, d, batch)
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Index batch : {1, 512})
    for (const Index n : {8, 16, 64, 256, 1024, 4096}) {
      add("comet", route<comet::CometGate<S>>, n, 2, 256, batch);
      add("top_k", route<comet::TopKGate<S>>, n, 2, 256, batch);
    }
  return true;
}();

}  // namespace
