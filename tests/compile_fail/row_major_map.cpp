// SPDX-License-Identifier: MIT
// expect: comet: one sample per column in column-major storage
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(const float* array) {
  forward(Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(array, 3, 2));
}
