// SPDX-License-Identifier: MIT
// expect: nothing
// flags: -DEIGEN_DEFAULT_TO_ROW_MAJOR
#include <comet/comet.hpp>

// The library's matrices are column-major all the same; those that are meant for it say so, too.
void use(const comet::MatrixView<float>& y);

void use(comet::Matrix<float>& x, Eigen::Matrix<float, -1, -1, Eigen::ColMajor>& y) {
  use(comet::MatrixView<float>(x));
  use(comet::MatrixView<float>(y));
}
