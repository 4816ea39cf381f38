// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <comet/core/schedule.hpp>
#include <comet/optimizers/parameter_group.hpp>

#include <bert/model/bert.hpp>

namespace programs::bert {

/// The tensors that do not decay.
[[nodiscard]] inline std::vector<comet::ParameterGroup> undecayed() {
  return {{.holds = [](std::string_view name) { return !decays(name); }, .weight_decay = 0}};
}

/// \brief From 0 to `highest` in so many steps, and back to 0 in a straight line in the rest. The
/// first step of all has the rate 0, as such trainings have it: it moves the moments alone.
[[nodiscard]] inline comet::Schedule learning_rate(double highest, std::int64_t warm_up,
                                                   std::int64_t steps) {
  const auto fall = comet::Schedule::linear(highest, 0, comet::Index(steps - warm_up));
  // Step 1 of an optimizer is step 0 of a schedule.
  if (warm_up == 0) return comet::Schedule::constant(highest).then(fall);
  return comet::Schedule::constant(0)
      .then(comet::Schedule::linear(0, highest, comet::Index(warm_up)))
      .then(fall);
}

}  // namespace programs::bert
