// SPDX-License-Identifier: MIT
// expect: comet: an output must be a writable column-major matrix
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(Eigen::Matrix<float, -1, -1, Eigen::RowMajor>& y) { forward_into(y); }
