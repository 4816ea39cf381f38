// SPDX-License-Identifier: MIT
// The compilers' own sentence, with both types in it: a pass belongs to one kind of layer.
// expect: cannot
#include <comet/experts/dense.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;
using Other = comet::MoeLayer<comet::AnyGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer, const comet::Matrix<float>& x, comet::Matrix<float>& y,
            comet::Pass<Other>& pass) {
  layer.forward(x, y, comet::RandomKey(1), pass);
}
