// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

#include <programs/base/json.hpp>

namespace programs {

/// Per gate, one permutation or one per selector.
using Order = std::vector<std::vector<comet::Permutation>>;

[[nodiscard]] Json to_json(const Order& order);
/// \throws std::invalid_argument or Json::exception for what is no order
[[nodiscard]] Order order_from(const Json& json);

template <class Gates>
Order order_of(const Gates& gates) {
  Order order;
  for (const auto& gate : gates) order.push_back(gate.permutations());
  return order;
}

/// \throws std::invalid_argument if it is of other gates
template <class Gates>
void set_order(Gates& gates, const Order& order) {
  comet::detail::check_equal("set_order", "order.size()", comet::Index(order.size()),
                             "number of gates", comet::Index(gates.size()));
  for (std::size_t i = 0; i < gates.size(); ++i) gates[i].set_permutations(order.at(i));
}

}  // namespace programs
