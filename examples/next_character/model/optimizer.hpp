// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <comet/core/schedule.hpp>
#include <comet/core/types.hpp>
#include <comet/optimizers/parameter_group.hpp>

namespace programs::next_character {

/// \brief The tensors whose weights do not decay: biases, and scales and shifts of layer norms.
[[nodiscard]] inline std::vector<comet::ParameterGroup> undecayed() {
  return {{.holds =
               [](std::string_view name) {
                 return name.ends_with("bias") || name.starts_with("norm") ||
                        name.starts_with("output_norm");
               },
           .weight_decay = 0}};
}

/// \brief From 0 to `highest` in so many steps, and back to 0 by half a cosine in the rest.
[[nodiscard]] inline comet::Schedule learning_rate(double highest, std::int64_t warm_up,
                                                   std::int64_t steps) {
  const auto rise = comet::Schedule::warm_up(comet::Index(warm_up));
  const auto rest = comet::Index(steps - warm_up);
  return rest > 0 ? rise.then_cosine(highest, rest) : rise.then_constant(highest);
}

}  // namespace programs::next_character
