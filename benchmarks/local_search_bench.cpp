// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/comet.hpp>
#include <movielens/model/model.hpp>
#include <support/ceiling.hpp>
#include <support/saturate.hpp>

/// \file
/// \brief What the relaxed search adds to a training step of the two-task MovieLens model: its own
/// three calls against the whole step, over the whole schedule. And what wrapping adds to routing
/// once the permutation is hard.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;
using Model = programs::movielens::TwoTaskModel<S>;

constexpr Index num_users = 6040;  // the shape of MovieLens 1M
constexpr Index num_items = 3706;
constexpr Index features = 256;
constexpr Index batch = 512;
constexpr Index search_steps = 20;  // the schedule from its first to its last number of iterations

comet::CometGate<S> comet_gate(Index n, RandomKey key) {
  return comet::CometGate<S>({.input_dim = features, .num_experts = n, .k = 2, .entropy = 0.05},
                             key);
}

struct Searched {
  using Scalar = S;
  Model& model;
  comet::PermutationSearch<S>& search;

  template <class F>
  void visit(F&& f) const {
    model.visit(f);
    f("search", search);
  }
};

void training_step(benchmark::State& state, Index n, Index threads) {
  const RandomKey key(1);
  comet::ThreadPool pool(threads);
  std::vector<Model::Gate> gates;
  for (std::uint64_t task = 0; task < Model::num_tasks; ++task)
    gates.emplace_back(comet::AnyGate<S>(comet_gate(n, key.fold(0).fold(task))));
  Model model({.num_users = num_users, .num_items = num_items, .num_experts = n}, std::move(gates),
              key.fold(1));

  std::vector<std::int32_t> users, items;
  comet::Matrix<S> watched(1, batch), rating(1, batch);
  for (Index b = 0; b < batch; ++b) {
    const auto counter = std::uint64_t(b);
    users.push_back(std::int32_t(key.fold(2).index(counter, std::uint64_t(num_users))));
    items.push_back(std::int32_t(key.fold(3).index(counter, std::uint64_t(num_items))));
    watched(0, b) = S(b % 2);
    rating(0, b) = S(b % 2 * (1 + b % 5));
  }
  const auto make_search = [&](std::uint64_t number) {
    return comet::PermutationSearch<S>({.steps = search_steps}, model.gates(),
                                       key.fold(5).fold(number));
  };
  std::uint64_t step = 0, searches = 0;
  auto search = make_search(searches);
  Searched searched{model, search};
  comet::Adam adam(searched, {.learning_rate = 1e-4}, &pool);
  comet::Gradients gradients(searched);
  comet::GradientView<S> of_search = gradients;
  Model::Pass pass(model, of_search.next(model), &pool);
  double search_seconds = 0, all_seconds = 0;
  for (auto _ : state) {
    if (search.finished()) {
      state.PauseTiming();
      search = make_search(++searches);
      state.ResumeTiming();
    }
    auto& searched_gates = model.gates();
    all_seconds += bench::seconds([&] {
      search_seconds += bench::seconds([&] { search.prepare(searched_gates); });
      model.accumulate_gradients(users, items, watched, rating, {}, key.fold(4).fold(step++), pass);
      search_seconds += bench::seconds(
          [&] { search.backward(searched_gates, pass.workspace.mixture().gates(), of_search); });
      adam.step(searched, gradients);
      search_seconds += bench::seconds([&] { search.advance(searched_gates); });
    });
  }
  state.counters["search_us"] = 1e6 * search_seconds / double(state.iterations());
  state.counters["search_percent"] = 100 * search_seconds / all_seconds;
}

/// Routing by a saturated gate, bare or wrapped.
template <class G>
void route(benchmark::State& state, Index n) {
  auto inner = comet_gate(n, RandomKey(1));
  bench::saturate(inner);
  G gate(std::move(inner));
  if constexpr (requires { gate.permutations(); })
    gate.set_permutation(comet::Permutation::random(n, RandomKey(2)));
  comet::Matrix<S> x(features, batch);
  RandomKey(3).fill_uniform(x, -1.0, 1.0);
  comet::Pass pass(gate);
  comet::Routing<S> routing;
  for (auto _ : state) {
    gate.route(x, routing, pass);
    benchmark::DoNotOptimize(routing.weights().data());
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

const bool registered = [] {
  for (const Index n : {16, 64})
    for (const Index threads : {1, 2})
      benchmark::RegisterBenchmark(
          ("local_search_step/n=" + std::to_string(n) +
           "/k=2/d=256/m=256/B=512/threads=" + std::to_string(threads) + "/f32")
              .c_str(),
          training_step, n, threads)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  for (const Index n : {16, 64}) {
    const std::string sizes = "/n=" + std::to_string(n) + "/k=2/d=256/B=512/f32";
    benchmark::RegisterBenchmark(("route_bare" + sizes).c_str(), route<comet::CometGate<S>>, n)
        ->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark(("route_wrapped" + sizes).c_str(),
                                 route<comet::PermutedGate<comet::CometGate<S>>>, n)
        ->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
