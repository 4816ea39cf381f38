// SPDX-License-Identifier: MIT
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/comet.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/optimizer.hpp>

#include <support/threads.hpp>
#include <support/timing.hpp>

/// \file
/// \brief The model of next_character at its defaults with Top-k, k = 1: a training step, and one
/// character at a time against reading the weights that it uses.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;
using Model = programs::next_character::Model;

const programs::next_character::ModelOptions sizes{.symbols = 173};

Model make_model(RandomKey key) {
  comet::TopKGate<S> gate({.input_dim = sizes.hidden_dim,
                           .num_experts = sizes.num_experts,
                           .k = 1,
                           .softmax = comet::TopKSoftmax::all,
                           .load_balance = 0.01},
                          key.fold(0));
  return Model(sizes, Model::Gate(comet::AnyGate<S>(std::move(gate))), key.fold(1));
}

std::vector<std::int32_t> random_symbols(RandomKey key, Index count) {
  std::vector<std::int32_t> symbols;
  for (Index i = 0; i < count; ++i)
    symbols.push_back(std::int32_t(key.index(std::uint64_t(i), std::uint64_t(sizes.symbols))));
  return symbols;
}

void training_step(benchmark::State& state, Index threads) {
  constexpr Index batch = 2048;
  const RandomKey key(1);
  comet::ThreadPool pool(threads);
  Model model = make_model(key);
  Model::Pass pass(model, &pool);
  comet::Adam adam(model,
                   {.learning_rate = 1e-6,
                    .weight_decay = 0.01,
                    .groups = programs::next_character::undecayed()},
                   &pool);
  const auto windows = random_symbols(key.fold(2), sizes.window * batch);
  const auto last = random_symbols(key.fold(3), batch), next = random_symbols(key.fold(4), batch);
  std::uint64_t step = 0;
  for (auto _ : state) {
    const auto loss =
        model.accumulate_gradients(windows, last, next, key.fold(5).fold(step++), pass);
    benchmark::DoNotOptimize(loss.cross_entropy);
    comet::clip_by_global_norm(pass.gradients(model), 1.0, &pool);
    adam.step(model, pass);
  }
  state.SetItemsProcessed(state.iterations() * batch);
  const double multiply_adds =
      model.cost_beside_mixture() + model.mixture().experts().front().cost();
  state.counters["GFLOP/s"] =
      benchmark::Counter(6e-9 * multiply_adds * double(batch) * double(state.iterations()),
                         benchmark::Counter::kIsRate);
}

/// Every tensor that a character is computed from, of one expert; of the embeddings next to none.
std::vector<std::vector<std::span<const S>>> weights_by_expert(const Model& model) {
  std::vector<std::vector<std::span<const S>>> used(std::size_t(sizes.num_experts));
  comet::for_each_parameter(model, [&](const comet::ParameterName& name, const auto& values) {
    const std::string text = name.str();
    for (Index e = 0; e < sizes.num_experts; ++e)
      if (!text.starts_with("embedding") &&
          (!text.starts_with("experts.") || text.starts_with("experts." + std::to_string(e) + ".")))
        used[std::size_t(e)].emplace_back(values.data(), std::size_t(values.size()));
  });
  return used;
}

/// In turns, so that a busy machine slows both.
void one_character(benchmark::State& state) {
  const RandomKey key(1);
  const Model model = make_model(key);
  Model::Pass pass(model);
  const auto used = weights_by_expert(model);
  const auto text = random_symbols(key.fold(2), 4099);
  std::vector<double> predicting, reading;
  std::size_t first = 0;
  for (auto _ : state) {
    const auto window =
        std::span<const std::int32_t>(text).subspan(first, std::size_t(sizes.window));
    first = (first + 1) % (text.size() - window.size());
    auto start = bench::Clock::now();
    benchmark::DoNotOptimize(model.predict(window, window.last(1), pass).data());
    predicting.push_back(bench::microseconds_since(start));

    // Of another expert than the one just used, or its weights would be at hand.
    const Index chosen = pass.workspace.mixture().routing().experts(0).front();
    const Index expert = (chosen + sizes.num_experts / 2) % sizes.num_experts;
    start = bench::Clock::now();
    for (const auto& values : used[std::size_t(expert)])
      benchmark::DoNotOptimize(bench::sum_of(values));
    reading.push_back(bench::microseconds_since(start));
  }
  const double predict = bench::percentile(predicting, 0.5), read = bench::percentile(reading, 0.5);
  state.counters["predict_us"] = predict;
  state.counters["read_us"] = read;
  state.counters["over_reading"] = predict / read;
}
BENCHMARK(one_character)->Name("next_character/one_character/f32")->Unit(benchmark::kMicrosecond);

const bool registered = bench::add_by_threads("next_character/step/top_k/B=2048", training_step);

}  // namespace
