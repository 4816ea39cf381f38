// SPDX-License-Identifier: MIT
// expect: comet: the scalar type is float or double
#include <comet/gates/comet.hpp>

void misuse() {
  comet::CometGate<int> gate({.input_dim = 2, .num_experts = 4}, comet::RandomKey(1));
  (void)gate.num_experts();
}
