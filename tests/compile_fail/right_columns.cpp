// SPDX-License-Identifier: MIT
// expect: nothing
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>

void use(const comet::Matrix<float>& x, const comet::ConstMatrixView<float>& view,
         const comet::DispatchPlan& plan, const comet::Routing<float>& routing,
         comet::Columns<float>& columns, comet::Columns<float>& outputs,
         comet::AlignedVector<float>& dweights) {
  comet::gather(x, plan, columns);
  comet::gather<float>(x.leftCols(2), plan, columns);
  comet::gather(comet::Matrix<float>::Map(x.data(), x.rows(), x.cols()), plan, columns);
  comet::gather(view, plan, columns);
  columns.leave_in(x.leftCols(2), plan);
  const comet::MixtureDerivatives<float> block(x.leftCols(2), plan, routing, dweights);
  const comet::MixtureDerivatives<float> mixture(view, plan, routing, dweights);
  comet::spread(2 * x, plan, routing, outputs, columns, dweights);  // read at once
}
