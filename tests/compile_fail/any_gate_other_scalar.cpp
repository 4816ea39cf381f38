// SPDX-License-Identifier: MIT
// expect: comet::AnyGate: the gate has another scalar type
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>

void misuse(const comet::CometGate<double>& gate) {
  const comet::AnyGate<float> any(gate);
  (void)any.num_experts();
}
