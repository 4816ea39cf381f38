// SPDX-License-Identifier: MIT
// expect: comet::MoeLayer::forward: these experts cannot be trained
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer, const comet::Matrix<float>& x, comet::Matrix<float>& y) {
  const auto frozen = layer.freeze(comet::Storage::int8);
  comet::Pass pass(frozen);
  frozen.forward(x, y, comet::RandomKey(1), pass);
}
