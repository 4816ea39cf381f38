// SPDX-License-Identifier: MIT
// expect: comet: one sample per column in column-major storage, please
// flags: -DEIGEN_DEFAULT_TO_ROW_MAJOR
#include <comet/core/types.hpp>

void forward(const comet::ConstMatrixView<float>& x);

void misuse(const Eigen::MatrixXf& x) { forward(x); }
