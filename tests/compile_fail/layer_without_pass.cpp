// SPDX-License-Identifier: MIT
// The compilers' own sentence about the call, and the note that `forward` takes one argument more,
// its Pass.
// expect: call
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer, const comet::Matrix<float>& x, comet::Matrix<float>& y) {
  layer.forward(x, y, comet::RandomKey(1));
}
