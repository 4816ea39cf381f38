// SPDX-License-Identifier: MIT
// expect: comet::MixtureDerivatives: dy is an expression or a matrix without a name
#include <comet/dispatch/combine.hpp>

void misuse(const comet::Matrix<float>& dy, const comet::DispatchPlan& plan,
            const comet::Routing<float>& routing, comet::AlignedVector<float>& dweights) {
  const comet::MixtureDerivatives<float> mixture(dy / 2, plan, routing, dweights);
}
