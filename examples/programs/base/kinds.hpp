// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

/// \file
/// \brief The gates and the local searches that a program offers, and which options they heed. The
/// gates are those of the library.

namespace programs {

struct GateKind {
  std::string name;
  bool has_k = false;        ///< experts per sample
  bool is_smooth = false;    ///< gamma and entropy
  bool spreads = false;      ///< a reward for even use
  bool splits = false;       ///< the scale that its splits start with
  bool balances = false;     ///< a penalty on uneven load
  bool loses_codes = false;  ///< a penalty on weight of experts that there are not
  int least_k = 1;
};

[[nodiscard]] const std::vector<GateKind>& gate_kinds();
/// \throws std::invalid_argument if there is none of this name
[[nodiscard]] const GateKind& gate_kind(const std::string& name);
/// \brief What a row of a table heeds: that of a gate, or of a network of the program's own, which
/// has the cost of k experts.
[[nodiscard]] GateKind row_kind(const std::string& name);
[[nodiscard]] const std::vector<std::string>& gate_names();
/// Those that heed an option, for people: "comet, dselect_k and top_k".
[[nodiscard]] std::string gates_with(bool GateKind::*heeds);

enum class LocalSearch { none, relaxed, swap };

/// Of the training without one.
inline constexpr const char* no_search = "none";
/// Of the name of a dense row that costs what the mixture of the name before it was found to cost.
inline constexpr const char* twin_ending = "_twin";

/// \throws std::invalid_argument if there is none of this name
[[nodiscard]] LocalSearch local_search_of(const std::string& name);
/// In the order of the enumeration.
[[nodiscard]] const std::vector<std::string>& local_search_names();

}  // namespace programs
