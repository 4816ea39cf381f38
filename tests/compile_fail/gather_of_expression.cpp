// SPDX-License-Identifier: MIT
// expect: comet::gather: x is an expression or a matrix without a name
#include <comet/dispatch/columns.hpp>

void misuse(const comet::Matrix<float>& x, const comet::DispatchPlan& plan,
            comet::Columns<float>& columns) {
  comet::gather(2 * x, plan, columns);
}
