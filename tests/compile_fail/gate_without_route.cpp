// SPDX-License-Identifier: MIT
// expect: comet::MoeLayer: the first argument is not a gate
#include <comet/experts/dense.hpp>
#include <comet/moe_layer.hpp>

struct NotAGate {
  using Scalar = float;
  struct Workspace {};
};

void misuse(comet::MoeLayer<NotAGate, comet::DenseExpert<float>>& layer) {
  (void)layer.num_tasks();
}
