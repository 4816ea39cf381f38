// SPDX-License-Identifier: MIT
// expect: comet: this output is a temporary matrix
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer, const comet::Matrix<float>& x, comet::Pass<Layer>& pass) {
  layer.predict(x, comet::Matrix<float>(3, 4), pass);
}
