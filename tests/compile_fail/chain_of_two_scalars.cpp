// SPDX-License-Identifier: MIT
// expect: comet::Chain: parts of different scalar types
#include <comet/experts/chain.hpp>
#include <comet/layers/dense.hpp>

void misuse(comet::Chain<comet::Dense<float>, comet::Dense<double>>& chain) {
  (void)chain.input_dim();
}
