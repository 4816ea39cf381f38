// SPDX-License-Identifier: MIT
#include <cstdio>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

#include <support/saturate.hpp>

/// \file
/// \brief Two kernels whose instructions scripts/instructions.sh counts: a slowdown shows without a
/// clock. Only what runs inside the two functions below is counted, once each.

using comet::Index;
using comet::RandomKey;

namespace {

using Gate = comet::CometGate<float>;
using Layer = comet::MoeLayer<Gate, comet::DenseExpert<float>>;

Gate saturated_gate(Index n) {
  Gate gate({.input_dim = 64, .num_experts = n, .k = 2}, RandomKey(1));
  bench::saturate(gate);
  return gate;
}

}  // namespace

extern "C" {

[[gnu::noinline]] void counted_route(const Gate& gate, const comet::Matrix<float>& x,
                                     comet::Routing<float>& routing, comet::Pass<Gate>& pass) {
  gate.route(x, routing, pass);
}

[[gnu::noinline]] void counted_training_pass(const Layer& layer, const comet::Matrix<float>& x,
                                             comet::Matrix<float>& y,
                                             const comet::Matrix<float>& dy,
                                             comet::Matrix<float>& dx, comet::Pass<Layer>& pass) {
  layer.forward(x, y, RandomKey(5), pass);
  layer.backward(x, dy, dx, pass);
}
}

int main() {
  comet::Matrix<float> x(64, 100), y(48, 100), dy(48, 100), dx(64, 100);
  RandomKey(2).fill_uniform(x, -1, 1);
  RandomKey(3).fill_uniform(dy, -1, 1);
  dx.setZero();

  const Gate gate = saturated_gate(256);
  comet::Pass gate_pass(gate);
  comet::Routing<float> routing;
  gate.route(x, routing, gate_pass);  // allocates
  counted_route(gate, x, routing, gate_pass);

  const Layer layer(saturated_gate(16), comet::make_experts<comet::DenseExpert<float>>(
                                            16, {.input_dim = 64, .output_dim = 48}, RandomKey(4)));
  comet::Pass pass(layer);
  layer.forward(x, y, RandomKey(5), pass);
  layer.backward(x, dy, dx, pass);
  counted_training_pass(layer, x, y, dy, dx, pass);
  std::printf("%g %g\n", double(y.sum()), double(dx.sum()));
}
