// SPDX-License-Identifier: MIT
// expect: comet: this output is a temporary matrix
#include <comet/core/types.hpp>

void predict(comet::MatrixView<float> y);

void misuse() { predict(comet::Matrix<float>(3, 4)); }
