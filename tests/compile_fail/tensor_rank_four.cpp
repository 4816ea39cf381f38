// SPDX-License-Identifier: MIT
// expect: comet::as_matrix: a tensor of rank 2
#include <comet/core/types.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

void misuse(Eigen::Tensor<float, 4>& tensor) { (void)comet::as_matrix(tensor); }
