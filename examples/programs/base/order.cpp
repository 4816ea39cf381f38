// SPDX-License-Identifier: MIT
#include <programs/base/order.hpp>

#include <utility>

namespace programs {

Json to_json(const Order& order) {
  Json gates = Json::array();
  for (const auto& of_gate : order) {
    Json list = Json::array();
    for (const comet::Permutation& p : of_gate) list.push_back(Json(p.as_span()));
    gates.push_back(std::move(list));
  }
  return gates;
}

Order order_from(const Json& json) {
  Order order;
  for (const Json& of_gate : json) {
    order.emplace_back();
    for (const Json& p : of_gate) order.back().emplace_back(p.get<std::vector<comet::ExpertId>>());
  }
  return order;
}

}  // namespace programs
