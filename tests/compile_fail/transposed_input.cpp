// SPDX-License-Identifier: MIT
// expect: comet: one sample per column in column-major storage
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(const comet::Matrix<float>& x) { forward(x.transpose()); }
