// SPDX-License-Identifier: MIT
// expect: comet::ExpertBank: the argument is not an expert
#include <comet/experts/bank.hpp>
#include <comet/layers/dense.hpp>

void misuse(comet::ExpertBank<comet::Dense<float>>& bank) { (void)bank.size(); }
