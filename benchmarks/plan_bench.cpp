// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/dispatch/plan.hpp>
#include <support/planned_gate.hpp>

/// \file
/// \brief The dispatch plan: from rows of experts to columns per expert, by counting.

namespace {

using bench::Skew;
using comet::Index;
using S = float;

void build(benchmark::State& state, Index n, Index k, Index batch, Skew skew) {
  const comet::Routing<S> routing = bench::make_routing<S>(n, k, batch, skew);
  comet::DispatchPlan plan;
  for (auto _ : state) {
    plan.build(routing, n);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * batch * k);
}

const bool registered = [] {
  for (const Index n : {16, 256, 4096})
    for (const Index batch : {1, 512, 4096})
      for (const Skew skew : {Skew::uniform, Skew::zipf})
        benchmark::RegisterBenchmark(("plan/n=" + std::to_string(n) + "/k=2/B=" +
                                      std::to_string(batch) + "/skew=" + bench::name(skew) + "/f32")
                                         .c_str(),
                                     build, n, Index(2), batch, skew);
  return true;
}();

}  // namespace
