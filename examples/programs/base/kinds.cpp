// SPDX-License-Identifier: MIT
#include <programs/base/kinds.hpp>

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include <comet/gates/all.hpp>

namespace programs {

const std::vector<GateKind>& gate_kinds() {
  static const std::vector<GateKind> kinds = [] {
    std::vector<GateKind> list;
    comet::GateFamily<float>::for_each([&]<class G>(std::type_identity<G>) {
      constexpr bool takes_one_or_all =
          G::name == comet::HashGate<float>::name || G::name == comet::SoftmaxGate<float>::name;
      list.push_back({.name = std::string(G::name),
                      .has_k = !takes_one_or_all,
                      .is_smooth = comet::AnnealableGate<G>,
                      .spreads = requires(typename G::Options o) { o.spread; },
                      .splits = requires(typename G::Options o) {
      o.split_scale; },
                      .balances = requires(typename G::Options o) {
      o.load_balance; },
                      .loses_codes = requires(typename G::Options o) {
      o.reachability; },
                      .least_k = G::name == comet::SampledGate<float>::name ? 2 : 1});
});
return list;
}
();
return kinds;
}

const GateKind& gate_kind(const std::string& name) {
  for (const GateKind& kind : gate_kinds())
    if (kind.name == name) return kind;
  throw std::invalid_argument("there is no gate " + name);
}

GateKind row_kind(const std::string& name) {
  for (const GateKind& kind : gate_kinds())
    if (kind.name == name) return kind;
  return {.name = name, .has_k = true};
}

const std::vector<std::string>& gate_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const GateKind& kind : gate_kinds()) list.push_back(kind.name);
    return list;
  }();
  return names;
}

std::string gates_with(bool GateKind::*heeds) {
  std::string text;
  for (const GateKind& kind : gate_kinds())
    if (kind.*heeds) text += (text.empty() ? "" : ", ") + kind.name;
  if (const std::size_t last = text.rfind(", "); last != std::string::npos)
    text.replace(last, 2, " and ");
  return text;
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

}  // namespace programs
