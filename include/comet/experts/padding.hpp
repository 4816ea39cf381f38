// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief Width that the blocks of columns of an expert are padded to, so that a column's bits do
/// not depend on its neighbours.
///
/// An expert that promises as much itself, by `static constexpr bool independent_columns = true`,
/// needs no padding. Others may use Eigen's product, whose result for a column depends on the shape
/// of the whole (Eigen 3.4): one column takes the matrix-vector path, a column beyond the last
/// multiple of 4 a scalar path, a product whose three sizes sum to less than 20 a third one.
template <class E>
[[nodiscard]] Index column_multiple(const E& expert) {
  if constexpr (requires { requires E::independent_columns; }) return 1;
  constexpr Index kernel_columns = 4;
  constexpr Index small_product = 20;
  const Index size = expert.input_dim() + expert.output_dim() + kernel_columns;
  return size >= small_product ? kernel_columns : small_product;
}

}  // namespace comet::detail
