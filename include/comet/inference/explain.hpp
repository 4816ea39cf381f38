// SPDX-License-Identifier: MIT
#pragma once

#include <iomanip>
#include <locale>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/concepts.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/explanation.hpp>

/// \file
/// \brief Why a gate sends a sample where it does: as data, as text and as a picture.

namespace comet {

/// \brief Why `gate` routes a sample as it does: what it compares, how far each comparison is from
/// another outcome, and the experts it ends at.
///
/// Trees and selectors: a split's outcome is the set of children that it gives weight to. It
/// changes where the logit crosses +-gamma/2, which is `margin` away in logits and margin / |w| in
/// x; the least of these distances is the distance of x from the nearest sample that reaches other
/// leaves. Top-k: what speaks for each expert that is taken against the best that is not; the least
/// distance is that to the nearest sample for which others are taken. Softmax takes all, and says
/// what speaks for the first against the second.
///
/// \code
///   std::cout << comet::explain(gate, x.col(0), {.features = {"age", "year"}});
/// \endcode
/// \param x      d x 1, one sample
/// \param names  of features and of experts; either may be left out
/// \throws std::invalid_argument if x is not one sample of the gate's input_dim(), the number of
///         names does not fit, a permutation is soft, or the gate chosen at run time cannot explain
/// \throws NotFinite if x is not finite or a logit overflows
/// \par Cost     that of routing the sample, and of sorting its features; allocates
template <RoutingGate G>
[[nodiscard]] auto explain(const G& gate,
                           const std::type_identity_t<ConstMatrixView<typename G::Scalar>>& x,
                           const ExplainNames& names = {}) {
  static_assert(ExplainableGate<G>,
                "comet::explain: this gate cannot say why it goes where it goes");
  if constexpr (ExplainableGate<G>) return gate.explain(x, std::span<const Permutation>(), names);
}

namespace detail {

/// A stream of its own: leaves the format of another alone, and writes numbers as a program reads
/// them, whatever the locale.
inline std::ostringstream explaining_text() {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::setprecision(3);
  return text;
}

/// "; age +2, constant -1, rest +0.1": what adds up to the logit.
template <class S>
void write_parts(std::ostream& text, const Explanation<S>& explanation,
                 const typename Explanation<S>::Logit& logit) {
  text << std::showpos << "; ";
  for (const auto& part : logit.parts)
    text << explanation.feature_name(part.feature) << ' ' << part.value << ", ";
  text << "constant " << logit.constant;
  if (logit.rest != S(0)) text << ", rest " << logit.rest;
  text << std::noshowpos;
}

/// Text between quotation marks of a dot file.
inline std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

template <class S>
void write_node(std::ostream& text, const Explanation<S>& explanation,
                const typename Explanation<S>::Node& node) {
  if (node.depth == 0) text << "tree " << node.tree << '\n';
  text << std::string(std::size_t(2 * node.depth + 2), ' ');
  if (node.is_leaf) {
    text << explanation.expert_name(node.expert) << ", weight " << node.weight << '\n';
    return;
  }
  text << "split " << node.number << ": ";
  if (node.left == S(1)) {
    text << "left";
  } else if (node.left == S(0)) {
    text << "right";
  } else {
    text << "left " << node.left << ", right " << node.right;
  }
  text << "; logit " << node.logit.value << ", margin " << node.margin << ", distance "
       << node.distance;
  write_parts(text, explanation, node.logit);
  if (node.reach * node.right > S(0) && !explanation.has_child(node, 2 * node.number + 2))
    text << "; no expert to the right, its share is lost";
  text << '\n';
}

/// A node and the edges below it.
template <class S>
void write_dot_node(std::ostream& text, const Explanation<S>& explanation,
                    const typename Explanation<S>::Node& node) {
  const auto name = [&](Index number) {
    return "t" + std::to_string(node.tree) + "n" + std::to_string(number);
  };
  std::ostringstream label = explaining_text();
  text << "  " << name(node.number) << " [";
  if (node.is_leaf) {
    label << explanation.expert_name(node.expert) << "  " << node.weight;
    text << "shape=ellipse, label=" << quoted(label.str()) << "];\n";
    return;
  }
  label << "tree " << node.tree << ", split " << node.number << "  logit " << node.logit.value
        << "  margin " << node.margin;
  text << "label=" << quoted(label.str()) << "];\n";
  for (const Index side : {0, 1}) {
    const S share = side == 0 ? node.left : node.right;
    const std::string child = name(2 * node.number + 1 + side);
    // A product of tiny shares can round to nothing: such a child is not reached either.
    const bool reached = node.reach * share > S(0);
    if (!reached) {
      text << "  " << child << " [shape=point, color=gray];\n";
    } else if (!explanation.has_child(node, 2 * node.number + 1 + side)) {
      text << "  " << child << " [shape=ellipse, label=\"no expert\"];\n";
    }
    text << "  " << name(node.number) << " -> " << child << " [label=\""
         << (side == 0 ? "left " : "right ") << share
         << (reached ? "\"" : "\", style=dashed, color=gray") << "];\n";
  }
}

}  // namespace detail

/// \brief An explanation as text: the experts, then the nodes of each tree, indented by depth, or
/// what speaks for each expert. Numbers do not follow the locale.
template <class S>
std::ostream& operator<<(std::ostream& out, const Explanation<S>& explanation) {
  std::ostringstream text = detail::explaining_text();
  for (const auto& entry : explanation.experts)
    text << explanation.expert_name(entry.expert) << ": " << entry.weight << '\n';
  text << "same " << (explanation.choices.empty() ? "leaves" : "experts")
       << " within a distance of " << explanation.distance << '\n';
  for (const auto& choice : explanation.choices) {
    text << explanation.expert_name(choice.expert) << " against "
         << explanation.expert_name(choice.against) << ": lead " << choice.lead.value
         << ", distance " << choice.distance;
    detail::write_parts(text, explanation, choice.lead);
    text << '\n';
  }
  for (const auto& node : explanation.nodes) detail::write_node(text, explanation, node);
  return out << text.str();
}

/// \brief An explanation as a Graphviz graph: `dot -Tsvg` makes a picture of it. Children that get
/// nothing are points; a choice is an edge from the expert that lost to the one that was taken.
template <class S>
void write_dot(const Explanation<S>& explanation, std::ostream& out) {
  std::ostringstream text = detail::explaining_text();
  text << "digraph comet {\n  node [shape=box];\n";
  for (const auto& choice : explanation.choices)
    text << "  " << detail::quoted(explanation.expert_name(choice.against)) << " -> "
         << detail::quoted(explanation.expert_name(choice.expert)) << " [label=\"lead "
         << choice.lead.value << "\"];\n";
  for (const auto& node : explanation.nodes) detail::write_dot_node(text, explanation, node);
  text << "}\n";
  out << text.str();
}

}  // namespace comet
