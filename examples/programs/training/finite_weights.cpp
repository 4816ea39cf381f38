// SPDX-License-Identifier: MIT
#include <programs/training/finite_weights.hpp>

#include <algorithm>
#include <cmath>

namespace programs {
namespace {

template <class S>
bool is_finite(const comet::TensorFile& file, const comet::Tensor& tensor) {
  const auto values = file.values<S>(tensor.name);
  return std::all_of(values.begin(), values.end(), [](S value) { return std::isfinite(value); });
}

}  // namespace

void expect_finite(const comet::TensorFile& file) {
  for (const comet::Tensor& tensor : file.tensors())
    if ((tensor.dtype == "F32" && !is_finite<float>(file, tensor)) ||
        (tensor.dtype == "F64" && !is_finite<double>(file, tensor)))
      file.refuse("tensor \"" + tensor.name +
                  "\" holds nan or an infinity, expected finite weights");
}

}  // namespace programs
