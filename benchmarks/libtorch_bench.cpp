// SPDX-License-Identifier: MIT
#include <torch/torch.h>

#include <vector>

#include <benchmark/benchmark.h>

#include <comet/adapters/libtorch.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <support/timing.hpp>

/// \file
/// \brief Forward and backward by a module of LibTorch, in turns with the layer inside alone: what
/// the bridge costs.

namespace {

using namespace comet;

void torch_step(benchmark::State& state) {
  const Index d = state.range(0), hidden = state.range(1), samples = state.range(2);
  const RandomKey key(1);
  const MoeLayer layer(
      TopKGate<float>({.input_dim = d, .num_experts = 8, .k = 2}, key.fold(0)),
      make_experts<MlpExpert<float>>(8, {.input_dim = d, .hidden_dim = hidden, .output_dim = d},
                                     key.fold(1)));
  TorchMoe module = make_torch_moe(layer);
  Matrix<float> x(d, samples), y = x, dy = x, dx = x;
  key.fold(2).fill_uniform(x, -1, 1);
  key.fold(3).fill_uniform(dy, -1, 1);
  const torch::Tensor x_tensor = torch::from_blob(x.data(), {samples, d}).requires_grad_();
  const torch::Tensor dy_tensor = torch::from_blob(dy.data(), {samples, d});
  Pass pass(layer);
  Gradients<float> gradients(layer);
  pass.borrow(gradients.view());
  std::vector<double> alone, bridged;
  for (auto _ : state) {
    auto start = bench::Clock::now();
    gradients.set_zero();
    dx.setZero();
    layer.forward(x, y, key, pass);
    layer.backward(x, dy, dx, pass);
    alone.push_back(bench::microseconds_since(start));
    start = bench::Clock::now();
    module->zero_grad(true);
    x_tensor.mutable_grad() = torch::Tensor();
    module->forward(x_tensor).backward(dy_tensor);
    bridged.push_back(bench::microseconds_since(start));
  }
  state.counters["layer_us"] = bench::percentile(alone, 0.5);
  state.counters["module_us"] = bench::percentile(bridged, 0.5);
  state.counters["module_over_layer"] =
      bench::percentile(bridged, 0.5) / bench::percentile(alone, 0.5);
}
BENCHMARK(torch_step)
    ->Name("libtorch/top_k/n=8/k=2")
    ->ArgNames({"d", "hidden", "batch"})
    ->Args({16, 32, 16})
    ->Args({128, 512, 256})
    ->Args({256, 1024, 512})
    ->Unit(benchmark::kMillisecond);

}  // namespace
