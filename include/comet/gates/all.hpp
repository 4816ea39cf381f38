// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/concepts.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/expert_choice.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/remoe.hpp>
#include <comet/gates/sampled.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/static_dselect_k.hpp>
#include <comet/gates/top_k.hpp>

/// \file
/// \brief The family of gates: the one list that make_gate(), the tests and the table of the docs
/// go by. A new gate is a line here, and a reason for each capability that it lacks.

namespace comet {

/// \brief A list of types.
template <class... Gates>
struct GateList {
  static constexpr std::size_t size = sizeof...(Gates);  ///< How many.
  /// What they are called.
  static constexpr std::array<std::string_view, size> names = {Gates::name...};
  /// What they can do.
  static constexpr std::array<GateCapabilities, size> capabilities = {capabilities_of<Gates>...};
  /// Whether a type is in it.
  template <class G>
  static constexpr bool contains = (std::is_same_v<G, Gates> || ...);
  /// Whether each trains, or has no parameters that would have to.
  static constexpr bool all_train_or_have_no_parameters =
      ((TrainableGate<Gates> || !Parametric<Gates>)&&...);

  /// Calls f(std::type_identity<G>()) for every gate G.
  template <class F>
  static void for_each(F&& f) {
    (f(std::type_identity<Gates>()), ...);
  }
};

/// \brief Every gate of the family, as the tables list them.
template <class S>
using GateFamily =
    GateList<CometGate<S>, DSelectKGate<S>, StaticDSelectKGate<S>, TopKGate<S>, BalancedTopKGate<S>,
             SampledGate<S>, ReMoeGate<S>, ExpertChoiceGate<S>, HashGate<S>, SoftmaxGate<S>>;

/// \brief Why a gate lacks a capability.
struct GateGap {
  std::string_view gate;        ///< Its name.
  std::string_view capability;  ///< As in GateCapabilities::names.
  std::string_view reason;      ///< A few words.
};

/// \brief The gaps of the family, each with its reason.
inline constexpr GateGap gate_gaps[] = {
    {"comet", "is told the load", "entropy makes its trees decide"},
    {"dselect_k", "is told the load", "entropy makes its selectors decide"},
    {"dselect_k", "splits evenly", "a bit's plane serves all nodes of a level"},
    {"static_dselect_k", "selectors", "every sample has the same row"},
    {"static_dselect_k", "freezes", "the row is worked out once a batch: nothing to save"},
    {"static_dselect_k", "explains", "it does not look at the sample"},
    {"static_dselect_k", "is told the load", "every sample has the same row"},
    {"static_dselect_k", "splits evenly", "every sample has the same row"},
    {"top_k", "selectors", "one list of logits"},
    {"top_k", "anneals", "exactly k from the first step"},
    {"top_k", "is told the load", "penalties balance it: load_balance, importance"},
    {"top_k", "splits evenly", "it compares, and has no splits"},
    {"balanced_top_k", "selectors", "one list of logits"},
    {"balanced_top_k", "anneals", "exactly k from the first step"},
    {"balanced_top_k", "explains", "its bias is of the load, not of the sample"},
    {"balanced_top_k", "splits evenly", "it compares, and has no splits"},
    {"sampled", "selectors", "one list of logits"},
    {"sampled", "anneals", "exactly k from the first step"},
    {"sampled", "is told the load", "it draws: what is likely is tried"},
    {"sampled", "splits evenly", "it compares, and has no splits"},
    {"remoe", "selectors", "one list of logits"},
    {"remoe", "anneals", "its penalty regulates itself"},
    {"remoe", "explains", "no expert is compared with another"},
    {"remoe", "splits evenly", "it has no splits"},
    {"expert_choice", "selectors", "one list of logits"},
    {"expert_choice", "anneals", "every expert is full from the first step"},
    {"expert_choice", "freezes", "its rows depend on their batch"},
    {"expert_choice", "explains", "its rows depend on their batch"},
    {"expert_choice", "is told the load", "the load is even by construction"},
    {"expert_choice", "splits evenly", "the load is even by construction"},
    {"hash", "trains", "its table is fixed"},
    {"hash", "selectors", "one table"},
    {"hash", "anneals", "exactly 1 from the first step"},
    {"hash", "explains", "it looks an id up"},
    {"hash", "is told the load", "its table is fixed: HashGate::balanced"},
    {"hash", "splits evenly", "its table is fixed: HashGate::balanced"},
    {"softmax", "selectors", "one list of logits"},
    {"softmax", "anneals", "every expert to the last step"},
    {"softmax", "is told the load", "every expert has every sample"},
    {"softmax", "splits evenly", "every expert has every sample"},
};

/// \brief Why a gate lacks a capability; empty if there is no reason for it.
[[nodiscard]] constexpr std::string_view why_not(std::string_view gate,
                                                 std::string_view capability) {
  for (const GateGap& gap : gate_gaps)
    if (gap.gate == gate && gap.capability == capability) return gap.reason;
  return {};
}

namespace detail {

/// Whether each gap has a reason and each reason a gap.
template <class S>
constexpr bool gaps_are_explained() {
  using Family = GateFamily<S>;
  std::size_t gaps = 0;
  for (std::size_t g = 0; g < Family::size; ++g)
    for (std::size_t c = 0; c < GateCapabilities::count; ++c) {
      const bool has = Family::capabilities[g].values()[c];
      if (has != why_not(Family::names[g], GateCapabilities::names[c]).empty()) return false;
      gaps += !has;
    }
  return gaps == std::size(gate_gaps);
}

static_assert(GateFamily<float>::all_train_or_have_no_parameters &&
                  GateFamily<double>::all_train_or_have_no_parameters,
              "comet: gates/all.hpp lists a gate with parameters that cannot be trained");
static_assert(gaps_are_explained<float>() && gaps_are_explained<double>(),
              "comet: gates/all.hpp lacks the reason for a gap, or has one for a gate that has "
              "the capability");

}  // namespace detail

/// \brief The family as a table in Markdown: a row per gate, a column per capability, "yes" or
/// "no" with the reason. docs/concepts.md has it.
[[nodiscard]] inline std::string gate_table() {
  using Family = GateFamily<double>;
  std::string head = "| gate |", rule = "|---|", rows;
  for (const std::string_view capability : GateCapabilities::names) {
    head += " " + std::string(capability) + " |";
    rule += "---|";
  }
  for (std::size_t g = 0; g < Family::size; ++g) {
    rows += "| `" + std::string(Family::names[g]) + "` |";
    for (std::size_t c = 0; c < GateCapabilities::count; ++c) {
      const std::string_view reason = why_not(Family::names[g], GateCapabilities::names[c]);
      rows += reason.empty() ? " yes |" : " no: " + std::string(reason) + " |";
    }
    rows += '\n';
  }
  return head + '\n' + rule + '\n' + rows;
}

}  // namespace comet
