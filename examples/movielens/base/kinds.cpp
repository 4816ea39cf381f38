// SPDX-License-Identifier: MIT
#include <movielens/base/kinds.hpp>

#include <algorithm>
#include <stdexcept>

namespace movielens {

const std::vector<GateKind>& gate_kinds() {
  static const std::vector<GateKind> kinds = {
      {.name = "comet", .has_k = true, .is_smooth = true},
      {.name = "dselect_k", .has_k = true, .is_smooth = true},
      {.name = "top_k", .has_k = true},
      {.name = "hash", .has_table = true},
      {.name = "softmax"}};
  return kinds;
}

const GateKind& gate_kind(const std::string& name) {
  for (const GateKind& kind : gate_kinds())
    if (kind.name == name) return kind;
  throw std::invalid_argument("there is no gate " + name);
}

const std::vector<std::string>& gate_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const GateKind& kind : gate_kinds()) list.push_back(kind.name);
    return list;
  }();
  return names;
}

const std::vector<std::string>& local_search_names() {
  static const std::vector<std::string> names = {no_search, "relaxed", "swap"};
  return names;
}

LocalSearch local_search_of(const std::string& name) {
  const auto& names = local_search_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw std::invalid_argument("there is no local search " + name);
  return LocalSearch(found - names.begin());
}

}  // namespace movielens
