// SPDX-License-Identifier: MIT
// expect: comet::ExpertBank: the argument is not an expert
#include <comet/experts/bank.hpp>
#include <comet/layers/layer_norm.hpp>

void misuse(comet::ExpertBank<comet::LayerNorm<float>>& bank) { (void)bank.size(); }
