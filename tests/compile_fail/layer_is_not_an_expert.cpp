// SPDX-License-Identifier: MIT
// expect: comet::MoeLayer: the second argument is not an expert
#include <comet/gates/comet.hpp>
#include <comet/layers/layer_norm.hpp>
#include <comet/moe_layer.hpp>

void misuse(comet::MoeLayer<comet::CometGate<float>, comet::LayerNorm<float>>& layer) {
  (void)layer.num_tasks();
}
