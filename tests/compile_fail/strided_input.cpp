// SPDX-License-Identifier: MIT
// expect: comet: one sample per column in column-major storage
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(const float* array) {
  using Strides = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  forward(Eigen::Map<const comet::Matrix<float>, 0, Strides>(array, 3, 2, Strides(6, 2)));
}
