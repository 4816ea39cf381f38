// SPDX-License-Identifier: MIT
// expect: comet: an output must be a writable column-major matrix
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(const float* array) {
  forward_into(Eigen::Map<const comet::Matrix<float>>(array, 3, 2));
}
