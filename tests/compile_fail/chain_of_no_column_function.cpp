// SPDX-License-Identifier: MIT
// expect: comet::Chain: a part is not a column function
#include <comet/experts/chain.hpp>
#include <comet/layers/layer_norm.hpp>

void misuse(comet::Chain<comet::LayerNorm<float>>& chain) { (void)chain.input_dim(); }
