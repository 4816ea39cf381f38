// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/experts/bank.hpp>
#include <comet/experts/dense.hpp>
#include <comet/optimizers/adam.hpp>
#include <support/ceiling.hpp>
#include <support/cold_caches.hpp>
#include <support/memory.hpp>
#include <support/planned_gate.hpp>
#include <support/timing.hpp>

/// \file
/// \brief Where the time of a layer's training step goes, stage by stage, and the least that each
/// could take: its multiply-adds at the peak, or its numbers at the speed of memory, read and
/// written once. One thread; caches are cold when a step begins, as after the rest of a model.

namespace {

using comet::Index;
using S = float;

constexpr Index n = 16, k = 2, d = 256, m = 256;

struct Phase {
  std::string name;
  double multiply_adds;  // of a step
  double numbers;        // that come from memory or go there
};

void phases(benchmark::State& state) {
  const Index batch = state.range(0);
  const double pairs = double(k * batch);
  const double weights = double(n * d * m);
  const std::array<Phase, 5> all = {{
      {"plan", 0, 0},
      {"experts", double(d * m) * pairs, weights},
      {"combine", 0, double(m) * (double(batch) + pairs)},
      {"experts_backward", 2 * double(d * m) * pairs, 3 * weights},
      {"adam", 0, 8 * weights},
  }};

  const auto routing = bench::make_routing<S>(n, k, batch, bench::Skew::uniform);
  comet::ExpertBank<comet::DenseExpert<S>> bank(comet::make_experts<comet::DenseExpert<S>>(
      n, {.input_dim = d, .output_dim = m}, comet::RandomKey(1)));
  comet::Pass pass(bank);
  comet::Adam adam(bank, {.learning_rate = 1e-6});
  comet::DispatchPlan plan;
  comet::Columns<S> columns, outputs;
  comet::AlignedVector<S> dweights;
  const comet::Matrix<S> x = comet::Matrix<S>::Random(d, batch);
  const comet::Matrix<S> dy = comet::Matrix<S>::Random(m, batch);
  comet::Matrix<S> y(m, batch), dx = comet::Matrix<S>::Zero(d, batch);

  std::array<std::vector<double>, all.size()> times;
  bench::read_something_else();  // which has numbers of its own
  const auto before = bench::allocated_bytes();
  for (auto _ : state) {
    bench::read_something_else();
    auto next = times.begin();
    const auto timed = [&](auto&& work) { (next++)->push_back(bench::processor_seconds(work)); };
    timed([&] { plan.build(std::span(&routing, 1), n); });
    columns.leave_in(x, plan);
    timed([&] { bank.forward(plan, columns, outputs, comet::RandomKey(2), pass); });
    timed([&] { comet::combine<S>(outputs, plan, routing, y); });
    timed([&] {
      bank.backward(plan, columns, outputs, comet::MixtureDerivatives(dy, plan, routing, dweights),
                    dx, pass);
    });
    timed([&] { adam.step(bank, pass); });
  }
  // Beside the gradients, which the first step made.
  state.counters["bytes_a_pair"] =
      (double(bench::allocated_bytes() - before) - weights * double(sizeof(S))) / pairs;
  comet::ThreadPool alone(1);
  const double flops = bench::multiply_add_flops<S>(alone);
  const double bandwidth = bench::stream_bandwidth(alone);
  for (std::size_t i = 0; i < all.size(); ++i) {
    state.counters[all[i].name + "_us"] = 1e6 * bench::percentile(times[i], 0.5);
    state.counters[all[i].name + "_bound"] =
        1e6 *
        std::max(2 * all[i].multiply_adds / flops, all[i].numbers * double(sizeof(S)) / bandwidth);
  }
}
BENCHMARK(phases)
    ->Name("phases/n=16/k=2/d=256/m=256/threads=1/f32")
    ->ArgName("B")
    ->Arg(128)
    ->Arg(512)
    ->Arg(2048)
    ->Iterations(31)
    ->Unit(benchmark::kMillisecond);

}  // namespace
