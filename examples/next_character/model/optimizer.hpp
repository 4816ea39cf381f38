// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <vector>

#include <comet/optimizers/parameter_group.hpp>

namespace next_character {

/// \brief The tensors whose weights do not decay: biases, and scales and shifts of layer norms.
[[nodiscard]] inline std::vector<comet::ParameterGroup> undecayed() {
  return {{.holds =
               [](std::string_view name) {
                 return name.ends_with("bias") || name.starts_with("norm") ||
                        name.starts_with("output_norm");
               },
           .weight_decay = 0}};
}

}  // namespace next_character
