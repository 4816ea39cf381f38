// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// That all experts have the sizes of the first, whose products the others' columns are made for.
template <class E>
void check_same_sizes(const char* where, const std::vector<E>& experts) {
  const E& one = experts.front();
  for (const E& expert : experts) {
    check_equal(where, "expert.input_dim()", expert.input_dim(), "that of the first expert",
                one.input_dim());
    check_equal(where, "expert.output_dim()", expert.output_dim(), "that of the first expert",
                one.output_dim());
  }
}

}  // namespace comet::detail
