// SPDX-License-Identifier: MIT
// expect: comet::freeze: the experts of this layer cannot be frozen
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;

void misuse(const Layer& layer) { (void)comet::freeze(comet::freeze(layer)); }
