// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// What a layer asks of its gates, also of those that have taken the place of others: one per task,
/// of its experts.
/// \param bound_name  what the caller calls the number of experts
template <class Gates>
void check_gates(std::string_view where, const Gates& gates, std::string_view bound_name,
                 Index num_experts) {
  check_at_least(where, "gates.size()", Index(gates.size()), 1);
  for (const auto& gate : gates)
    check_equal(where, "gate.num_experts()", gate.num_experts(), bound_name, num_experts);
}

/// What a layer asks of a batch and of its mixtures, or their derivatives: all tasks side by side.
/// \param y_rows, y_cols  how the caller names the sizes of y
template <class Layer, class S>
void check_layer_shapes(std::string_view where, const Layer& layer, const Samples<S>& samples,
                        const ConstMatrixView<std::type_identity_t<S>>& y, const char* y_rows,
                        const char* y_cols) {
  check_equal(where, "x.rows()", samples.dim(), "input_dim", layer.input_dim());
  check_equal(where, y_rows, y.rows(), "output_dim", layer.output_dim());
  check_equal(where, y_cols, y.cols(), "num_tasks * x.cols()", layer.num_tasks() * samples.size());
}

}  // namespace comet::detail
