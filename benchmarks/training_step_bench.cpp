// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/comet.hpp>
#include <movielens/model/model.hpp>
#include <support/every_expert.hpp>
#include <support/memory.hpp>
#include <support/saturate.hpp>

/// \file
/// \brief A whole training step (forward, losses, backward, Adam) of the two-task MovieLens model,
/// once its gates are saturated: only the chosen experts against every expert.

namespace {

using comet::Index;
using comet::RandomKey;

constexpr Index num_users = 6040;  // the shape of MovieLens 1M
constexpr Index num_items = 3706;
constexpr Index features = 256;

using S = float;
using Model = programs::movielens::TwoTaskModel<S>;

/// Whether the gates have made up their minds, as after some hundred steps, or reach every expert,
/// as in the first ones.
enum class Gates { saturated, undecided };

comet::CometGate<S> make_gate(Gates gates, Index num_experts, RandomKey key) {
  comet::CometGate<S> gate(
      {.input_dim = features, .num_experts = num_experts, .k = 2, .entropy = 0.05}, key);
  if (gates == Gates::saturated) bench::saturate(gate);
  return gate;
}

template <class Gate, Gates kind = Gates::saturated>
void training_step(benchmark::State& state, Index num_experts, Index batch, Index threads) {
  const RandomKey key(1);
  const auto before = bench::allocated_bytes();
  comet::ThreadPool pool(threads);
  std::vector<Model::Gate> gates;
  for (std::uint64_t task = 0; task < Model::num_tasks; ++task)
    gates.emplace_back(
        comet::AnyGate<S>(Gate(make_gate(kind, num_experts, key.fold(0).fold(task)))));
  Model model({.num_users = num_users, .num_items = num_items, .num_experts = num_experts},
              std::move(gates), key.fold(1));
  Model::Pass pass(model, &pool);
  comet::Adam adam(model, {.learning_rate = 1e-6}, &pool);

  std::vector<std::int32_t> users, items;
  comet::Matrix<S> watched(1, batch), rating(1, batch);
  for (Index b = 0; b < batch; ++b) {
    const auto counter = std::uint64_t(b);
    users.push_back(std::int32_t(key.fold(2).index(counter, std::uint64_t(num_users))));
    items.push_back(std::int32_t(key.fold(3).index(counter, std::uint64_t(num_items))));
    watched(0, b) = S(b % 2);
    rating(0, b) = S(b % 2 * (1 + b % 5));
  }
  std::uint64_t step = 0;
  for (auto _ : state) {
    const auto loss = model.accumulate_gradients(users, items, watched, rating, {},
                                                 key.fold(4).fold(step++), pass);
    benchmark::DoNotOptimize(loss.total);
    adam.step(model, pass);
  }
  state.SetItemsProcessed(state.iterations() * batch);
  const auto& plan = pass.workspace.mixture().plan();
  state.counters["pairs_per_sample"] = double(plan.num_pairs()) / double(batch);
  // Model, optimizer and what a pass keeps.
  state.counters["MiB"] = double(bench::allocated_bytes() - before) / (1 << 20);
  // Multiply-adds of experts and heads, forward and backward: what a dense implementation counts.
  const double multiply_adds = 3.0 * 256 * 256 * double(plan.num_pairs() + 2 * batch);
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * multiply_adds * double(state.iterations()),
                                                 benchmark::Counter::kIsRate);
}

const bool registered = [] {
  using Active = comet::CometGate<S>;
  using Every = bench::EveryExpert<Active>;
  const auto add = [](const char* experts, auto run, Index n, Index batch, Index threads) {
    benchmark::RegisterBenchmark(
        ("training_step/experts=" + std::string(experts) + "/n=" + std::to_string(n) +
         "/k=2/d=256/m=256/B=" + std::to_string(batch) + "/threads=" + std::to_string(threads) +
         "/f32")
            .c_str(),
        run, n, batch, threads)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  for (const Index threads : {1, 2}) {
    add("active", training_step<Active>, 16, 512, threads);
    add("every", training_step<Every>, 16, 512, threads);
  }
  add("active", training_step<Active>, 16, 1, 1);
  add("active", training_step<Active>, 16, 1, 2);
  add("active", training_step<Active>, 64, 4096, 2);
  add("undecided", training_step<Active, Gates::undecided>, 64, 4096, 2);
  return true;
}();

}  // namespace
