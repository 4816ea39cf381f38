// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/plan.hpp>

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

/// That experts first .. first + count - 1 of a plan have as many columns as they want.
inline void check_padding(const char* where, const DispatchPlan& plan, Index first, Index count,
                          Index multiple) {
  if (multiple == 1) return;
  for (Index e = first; e < first + count; ++e)
    if (plan.padded_count(e) % multiple != 0) [[unlikely]]
      raise(where, "the number of columns of expert " + std::to_string(e), plan.padded_count(e),
            "a multiple of column_multiple() = " + std::to_string(multiple) +
                ", which plan.build() has to be told");
}

}  // namespace comet::detail
