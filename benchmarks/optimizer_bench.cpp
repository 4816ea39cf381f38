// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/optimizers/adam.hpp>

/// \file
/// \brief Adam: the dense form runs against the memory's bandwidth, the lazy one skips the rows of
/// an embedding that a batch did not touch. And parameters that have no gradient any more, as those
/// of an expert without rows, take the time of all others.

namespace {

using comet::Index;
using S = float;

constexpr Index row = 128;  // of an embedding

struct Model {
  using Scalar = S;
  comet::Parameter<S> weight;
  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
  }
};

void adam_step(benchmark::State& state, Index rows, Index touched, bool lazy, Index threads) {
  comet::ThreadPool pool(threads);
  Model model{comet::Parameter<S>(row, rows)};
  comet::Gradients gradients(model);
  comet::Adam adam(model, {.learning_rate = 1e-6, .lazy = lazy}, &pool);
  for (auto _ : state) {
    for (Index i = 0; i < touched; ++i) gradients[0].col(i * 7919 % rows).setOnes();
    adam.step(model, gradients);
  }
  // Reads values, gradients and two moments; writes all four.
  state.SetBytesProcessed(state.iterations() * row * rows * 8 * Index(sizeof(S)));
}

/// The first steps without a gradient, or those after the 1000th, when moments have decayed.
void adam_without_gradients(benchmark::State& state) {
  Model model{comet::Parameter<S>(row, 512)};
  comet::Gradients gradients(model);
  comet::Adam adam(model, {.learning_rate = 1e-6});
  gradients[0].setOnes();
  for (Index step = 0; step <= state.range(0); ++step) adam.step(model, gradients);
  for (auto _ : state) adam.step(model, gradients);
}
BENCHMARK(adam_without_gradients)
    ->Name("adam/dense/parameters=65536/threads=1/f32")
    ->ArgName("steps_without_gradient")
    ->Arg(0)
    ->Arg(1000)
    ->Iterations(200)
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

const bool registered = [] {
  for (const Index threads : {1, 2})
    for (const Index rows : {512, 10000})
      for (const bool lazy : {false, true})
        benchmark::RegisterBenchmark(
            ("adam/" + std::string(lazy ? "lazy" : "dense") +
             "/parameters=" + std::to_string(rows * row) +
             "/touched_rows=512/threads=" + std::to_string(threads) + "/f32")
                .c_str(),
            adam_step, rows, Index(512), lazy, threads)
            ->Unit(benchmark::kMicrosecond)
            ->UseRealTime();
  return true;
}();

}  // namespace
