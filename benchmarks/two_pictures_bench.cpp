// SPDX-License-Identifier: MIT
#include <cstdint>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/comet.hpp>
#include <two_pictures/model/model.hpp>

#include <support/threads.hpp>

/// \file
/// \brief The training step of two_pictures at its defaults with Top-k, k = 2 of 6 convolutional
/// experts, two tasks.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;
using Model = programs::two_pictures::PictureModel<S>;

const programs::two_pictures::ModelOptions sizes{.height = 36, .width = 36};

Model make_model(RandomKey key) {
  std::vector<Model::Gate> gates;
  for (Index task = 0; task < sizes.num_tasks; ++task)
    gates.emplace_back(comet::AnyGate<S>(comet::TopKGate<S>(
        {.input_dim = sizes.height * sizes.width, .num_experts = sizes.num_experts, .k = 2},
        key.fold(0).fold(std::uint64_t(task)))));
  return Model(sizes, std::move(gates), key.fold(1));
}

void training_step(benchmark::State& state, Index threads) {
  constexpr Index batch = 512;
  const RandomKey key(1);
  comet::ThreadPool pool(threads);
  Model model = make_model(key);
  Model::Pass pass(model, &pool);
  comet::Adam adam(model, {.learning_rate = 1e-6}, &pool);
  comet::Matrix<S> canvas(sizes.height * sizes.width, batch);
  key.fold(2).fill_uniform(canvas, 0, 1);
  std::vector<std::int32_t> picture(std::size_t(batch), 0), labels;
  for (Index i = 0; i < sizes.num_tasks * batch; ++i)
    labels.push_back(
        std::int32_t(key.fold(3).index(std::uint64_t(i), std::uint64_t(sizes.num_classes))));
  std::uint64_t step = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        model.accumulate_gradients(canvas, picture, labels, key.fold(4).fold(step++), pass).total);
    adam.step(model, pass);
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

const bool registered = bench::add_by_threads("two_pictures/step/top_k/B=512", training_step);

}  // namespace
