// SPDX-License-Identifier: MIT
// expect: comet::MoeLayer: gate and expert have different scalar types
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

void misuse(comet::MoeLayer<comet::CometGate<double>, comet::DenseExpert<float>>& layer) {
  (void)layer.num_tasks();
}
