// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <comet/core/types.hpp>

#include <programs/base/kinds.hpp>

/// \file
/// \brief Networks that a mixture for several tasks is measured by: k experts for every sample,
/// mixed by a softmax.

namespace programs {

inline constexpr const char* dense = "dense";                    ///< the same for all tasks
inline constexpr const char* dense_per_task = "dense_per_task";  ///< k of its own for each task

[[nodiscard]] inline bool is_dense(const std::string& row) {
  return row == dense || row == dense_per_task;
}

/// What can be trained: all gates, and these.
[[nodiscard]] inline const std::vector<std::string>& gates_and_dense_rows() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list = gate_names();
    list.insert(list.end(), {dense, dense_per_task});
    return list;
  }();
  return names;
}

/// \brief Experts that a row's model has. \param num_experts  of a mixture
[[nodiscard]] inline comet::Index num_experts_of_row(const std::string& row,
                                                     comet::Index num_experts, comet::Index k,
                                                     comet::Index num_tasks) {
  return row == dense ? k : row == dense_per_task ? k * num_tasks : num_experts;
}

}  // namespace programs
