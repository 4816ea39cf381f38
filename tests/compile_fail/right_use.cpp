// SPDX-License-Identifier: MIT
// expect: nothing
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void use(const comet::Matrix<float>& x, comet::Matrix<float>& y) {
  forward(x);
  forward(x.leftCols(2));
  forward(x + x);
  forward_into(y);
  forward_into(y.leftCols(2));
}
