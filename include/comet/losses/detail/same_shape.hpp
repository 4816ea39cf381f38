// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <comet/core/check.hpp>

namespace comet::detail {

/// Names are put together only where they are needed.
template <class A, class B>
void check_same_shape(std::string_view where, std::string_view a_name, const A& a,
                      std::string_view b_name, const B& b) {
  if (a.rows() == b.rows() && a.cols() == b.cols()) [[likely]]
    return;
  const auto of = [](std::string_view name, const char* size) { return std::string(name) + size; };
  check_equal(where, of(a_name, ".rows()"), a.rows(), of(b_name, ".rows()"), b.rows());
  check_equal(where, of(a_name, ".cols()"), a.cols(), of(b_name, ".cols()"), b.cols());
}

}  // namespace comet::detail
