// SPDX-License-Identifier: MIT
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/distributed/blockwise_gate.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/self_communicator.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>

#include <support/timing.hpp>

/// \file
/// \brief What it costs one process to be ready for more: forward and backward of a layer whose
/// columns go nowhere, and of one whose gate sums in blocks, with a penalty too, in turns with a
/// MoeLayer.

namespace {

using comet::Index;
using comet::RandomKey;
using S = float;
using Gate = comet::TopKGate<S>;

/// One step in turns of each layer of a list.
template <class Layer>
class Step {
 public:
  Step(const Layer& layer, const comet::Matrix<S>& x, const comet::Matrix<S>& dy)
      : layer_(layer), x_(x), dy_(dy), pass_(layer), y_(dy.rows(), dy.cols()), dx_(x) {}

  void run(RandomKey key) {
    const auto start = bench::Clock::now();
    layer_.forward(x_, y_, key, pass_);
    layer_.backward(x_, dy_, dx_, pass_);
    times_.push_back(bench::microseconds_since(start));
  }
  [[nodiscard]] double median() { return bench::percentile(times_, 0.5); }

 private:
  const Layer& layer_;
  const comet::Matrix<S>&x_, &dy_;
  comet::Pass<Layer> pass_;
  comet::Matrix<S> y_, dx_;
  std::vector<double> times_;
};

void one_process(benchmark::State& state) {
  constexpr Index n = 16, d = 256, m = 256;
  const Index batch = state.range(0);
  const RandomKey key(1);
  const Gate gate({.input_dim = d, .num_experts = n, .k = 2}, key.fold(0));
  const auto experts =
      comet::make_experts<comet::DenseExpert<S>>(n, {.input_dim = d, .output_dim = m}, key.fold(1));
  comet::SelfCommunicator world;
  const comet::MoeLayer plain(gate, experts);
  const comet::DistributedMoeLayer distributed(world, gate, experts);
  const comet::MoeLayer blockwise(comet::BlockwiseGate<Gate>(gate, 8), experts);
  const Gate balanced({.input_dim = d, .num_experts = n, .k = 2, .load_balance = 0.01},
                      key.fold(0));
  const comet::MoeLayer with_penalty(balanced, experts);
  const comet::MoeLayer penalty_in_blocks(comet::BlockwiseGate<Gate>(balanced, 8), experts);
  comet::Matrix<S> x(d, batch), dy(m, batch);
  key.fold(2).fill_uniform(x, -1, 1);
  key.fold(3).fill_uniform(dy, -1, 1);
  Step a(plain, x, dy);
  Step b(distributed, x, dy);
  Step c(blockwise, x, dy);
  Step e(with_penalty, x, dy);
  Step f(penalty_in_blocks, x, dy);
  std::uint64_t step = 0;
  for (auto _ : state) {
    a.run(key.fold(++step));
    b.run(key.fold(step));
    c.run(key.fold(step));
    e.run(key.fold(step));
    f.run(key.fold(step));
  }
  state.counters["layer_us"] = a.median();
  state.counters["distributed_over_layer"] = b.median() / a.median();
  state.counters["blockwise_over_layer"] = c.median() / a.median();
  state.counters["blockwise_over_layer_with_penalty"] = f.median() / e.median();
}
BENCHMARK(one_process)
    ->Name("distributed/one_process/n=16/k=2/d=256/m=256")
    ->ArgName("B")
    ->Arg(64)
    ->Arg(512)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
