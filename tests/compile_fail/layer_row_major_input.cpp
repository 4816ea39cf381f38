// SPDX-License-Identifier: MIT
// expect: comet: one sample per column in column-major storage
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

using Layer = comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void misuse(const Layer& layer, const RowMajor& x, comet::Matrix<float>& y,
            comet::Pass<Layer>& pass) {
  layer.forward(x, y, comet::RandomKey(1), pass);
}
