// SPDX-License-Identifier: MIT
// expect: comet: the scalar type of this matrix differs from the model
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);
void forward_into(comet::MatrixView<float> y);

void misuse(const comet::Matrix<double>& x) { forward(x); }
