// SPDX-License-Identifier: MIT
// expect: comet: a part of this model only predicts, its weights may be kept in fewer bits
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer) {
  const auto frozen = layer.freeze();
  comet::Gradients<float> gradients(frozen);
}
