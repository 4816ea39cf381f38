// SPDX-License-Identifier: MIT
// expect: comet::as_matrix: a column-major tensor
#include <comet/core/types.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

void misuse(Eigen::Tensor<float, 2, Eigen::RowMajor>& tensor) { (void)comet::as_matrix(tensor); }
