// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/moe_layer.hpp>
#include <support/ceiling.hpp>
#include <support/planned_gate.hpp>

/// \file
/// \brief The mixture layer without its gate. `share` is useful multiply-adds per second over those
/// of one big product on the same threads, measured beside it.

namespace {

using bench::Skew;
using comet::Index;
using S = float;

enum class Kind { forward, forward_backward };

struct Shape {
  Index n, k, d, m, batch, threads;
  Skew skew;
};

void run(benchmark::State& state, Kind kind, const Shape& shape) {
  const comet::RandomKey key(1);
  comet::ThreadPool pool(shape.threads);
  const comet::MoeLayer layer(
      bench::PlannedGate<S>(shape.n,
                            bench::make_routing<S>(shape.n, shape.k, shape.batch, shape.skew)),
      comet::make_experts<comet::DenseExpert<S>>(
          shape.n, {.input_dim = shape.d, .output_dim = shape.m}, key));
  comet::Pass pass(layer, &pool);
  const comet::Matrix<S> x = comet::Matrix<S>::Random(shape.d, shape.batch);
  comet::Matrix<S> y(shape.m, shape.batch), dx(shape.d, shape.batch);
  const comet::Matrix<S> dy = comet::Matrix<S>::Random(shape.m, shape.batch);
  dx.setZero();

  const double ceiling = bench::product_flops<S>(shape.d, shape.m, shape.k * shape.batch, pool);
  for (auto _ : state) {
    if (kind == Kind::forward) {
      layer.predict(x, y, pass);
    } else {
      layer.forward(x, y, key, pass);
      layer.backward(x, dy, dx, pass);
    }
    benchmark::ClobberMemory();
  }
  const double passes = kind == Kind::forward ? 1 : 3;
  const double work = passes * 2.0 * double(shape.d * shape.m) * double(shape.k * shape.batch) *
                      double(state.iterations());
  state.counters["FLOP/s"] = benchmark::Counter(work, benchmark::Counter::kIsRate);
  state.counters["share"] = benchmark::Counter(work / ceiling, benchmark::Counter::kIsRate);
  state.counters["columns_per_expert"] = double(shape.k * shape.batch) / double(shape.n);
}

const bool registered = [] {
  const auto add = [](Kind kind, const Shape& s) {
    benchmark::RegisterBenchmark(
        ("moe_layer/" + std::string(kind == Kind::forward ? "forward" : "forward_backward") +
         "/n=" + std::to_string(s.n) + "/k=" + std::to_string(s.k) + "/d=" + std::to_string(s.d) +
         "/m=" + std::to_string(s.m) + "/B=" + std::to_string(s.batch) +
         "/skew=" + bench::name(s.skew) + "/threads=" + std::to_string(s.threads) + "/f32")
            .c_str(),
        run, kind, s)
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
  };
  for (const Kind kind : {Kind::forward, Kind::forward_backward}) {
    for (const Index threads : {1, 2})
      for (const Skew skew : {Skew::uniform, Skew::zipf})
        for (const Index columns : {43, 64, 256})
          add(kind, {16, 2, 256, 256, columns * 8, threads, skew});
    for (const Index n : {8, 64, 256, 1024}) add(kind, {n, 2, 256, 256, 512, 1, Skew::uniform});
    for (const Index k : {1, 4, 16, 64}) add(kind, {64, k, 256, 256, 512, 1, Skew::uniform});
    for (const Index size : {64, 1024}) add(kind, {16, 2, size, size, 512, 1, Skew::uniform});
    for (const Index batch : {1, 8, 32, 128, 4096})
      add(kind, {64, 2, 256, 256, batch, 1, Skew::uniform});
  }
  add(Kind::forward, {64, 64, 256, 256, 4096, 1, Skew::uniform});
  return true;
}();

}  // namespace
