// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>

namespace comet {

/// \brief Tensors that an optimizer treats in their own way, told by their names.
///
/// \code
///   .weight_decay = 0.01,
///   .groups = {{.holds = [](std::string_view name) { return name.ends_with("bias"); },
///               .weight_decay = 0},
///              {.holds = [](std::string_view name) { return name.starts_with("users."); },
///               .rate_factor = 10}}
/// \endcode
struct ParameterGroup {
  /// Whether the tensor of this name, `mixture.experts.3.weight`, is one of them. A tensor that
  /// several groups hold belongs to the first.
  std::function<bool(std::string_view name)> holds = nullptr;
  double rate_factor = 1;                   ///< >= 0, of the learning rate; 0 freezes them.
  std::optional<double> weight_decay = {};  ///< >= 0; none takes that of the options.
};

namespace detail {

/// What holds for one tensor.
struct TensorSettings {
  double rate_factor;
  double weight_decay;
};

/// One for each tensor of a model, in visiting order.
template <class Model>
std::vector<TensorSettings> tensor_settings(std::string_view where, const Model& model,
                                            const std::vector<ParameterGroup>& groups,
                                            double weight_decay) {
  check_not_negative(where, "weight_decay", weight_decay);
  for (const ParameterGroup& group : groups) {
    if (!group.holds) raise(where, "a group has no function `holds` that tells its tensors");
    check_not_negative(where, "the rate_factor of a group", group.rate_factor);
    check_not_negative(where, "the weight_decay of a group", group.weight_decay.value_or(0));
  }
  std::vector<TensorSettings> settings;
  for_each_parameter(model, [&](const ParameterName& name, const auto&) {
    settings.push_back({1, weight_decay});
    for (const ParameterGroup& group : groups) {
      if (!group.holds(name.str())) continue;
      settings.back() = {group.rate_factor, group.weight_decay.value_or(weight_decay)};
      break;
    }
  });
  return settings;
}

}  // namespace detail

}  // namespace comet
