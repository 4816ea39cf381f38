// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// That an expert has the sizes of the first of its bank, for which columns have room.
template <class E>
void check_sizes(const char* where, const E& expert, const E& first) {
  check_equal(where, "expert.input_dim()", expert.input_dim(), "that of the first expert",
              first.input_dim());
  check_equal(where, "expert.output_dim()", expert.output_dim(), "that of the first expert",
              first.output_dim());
}

}  // namespace comet::detail
