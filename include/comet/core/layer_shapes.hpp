// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

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
