// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <limits>
#include <numeric>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/comet.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/local_search/permuted_gate.hpp>

/// \file
/// \brief Why a COMET gate sends a sample where it does: as data, as text and as a picture.

namespace comet {

/// \brief What to call things in an explanation.
struct ExplainNames {
  std::vector<std::string> features = {};  ///< one per row of x, or none: then `x[0]`, ...
  std::vector<std::string> experts = {};   ///< one per expert, or none: then `expert 0`, ...
};

/// \brief The way of one sample through the trees of a COMET gate.
///
/// Only what the sample reaches is listed: a path per tree once the splits are saturated, before
/// that a tree of paths.
template <class S>
struct Explanation {
  /// A feature's part of a split's logit: w_l x_l.
  struct Part {
    Index feature;  ///< Row of x.
    S value;        ///< w_l x_l.
  };

  /// A split or a leaf that the sample reaches.
  struct Node {
    Index tree;    ///< 0..k-1.
    Index number;  ///< heap order: children of q are 2 q + 1 (left) and 2 q + 2 (right)
    Index depth;   ///< 0 at the root.
    S reach;       ///< share of the sample that arrives here, > 0
    bool is_leaf;  ///< Otherwise it is a split.

    // Of a split.
    S logit = 0;     ///< w . x + c
    S share = 0;     ///< goes left, 1 - share goes right; exactly 0 or 1 beyond +-gamma/2
    S margin = 0;    ///< how far the logit is from +-gamma/2, where a child comes or goes
    S distance = 0;  ///< margin / |w|: how far x is from there; infinite for w = 0
    std::vector<Part> parts = {};  ///< the features that say most, largest first

    // Of a leaf.
    ExpertId expert = 0;  ///< after any permutation
    S weight = 0;         ///< its part of the expert's weight
  };

  /// An entry of the sample's row.
  struct Entry {
    ExpertId expert;  ///< After any permutation.
    S weight;         ///< > 0.
  };

  std::vector<Entry> experts;  ///< as route() gives them, ascending by expert
  std::vector<Node> nodes;     ///< tree by tree, a node before its subtrees, left before right
  S distance = 0;  ///< to the nearest change: every x that is nearer reaches the same leaves
  ExplainNames names = {};  ///< What features and experts are called.

  /// What a feature is called.
  [[nodiscard]] std::string feature_name(Index feature) const {
    return names.features.empty() ? "x[" + std::to_string(feature) + "]"
                                  : names.features[std::size_t(feature)];
  }
  /// What an expert is called.
  [[nodiscard]] std::string expert_name(ExpertId expert) const {
    return names.experts.empty() ? "expert " + std::to_string(expert)
                                 : names.experts[std::size_t(expert)];
  }
};

namespace detail {

/// Features shown for a split.
inline constexpr Index num_explained_parts = 3;

/// Walks the trees for one sample with the gate's own arithmetic.
template <class S>
class Explainer {
 public:
  Explainer(const CometGate<S>& gate, const S* x, Explanation<S>& result)
      : gate_(gate), x_(x), result_(result) {}

  void visit(Index tree, Index number, Index depth, S reach) {
    const Index n = gate_.num_experts();
    typename Explanation<S>::Node node{
        .tree = tree, .number = number, .depth = depth, .reach = reach, .is_leaf = number >= n - 1};
    if (node.is_leaf) {
      // Leaves come from left to right, and those of the routing's slots do too.
      result_.nodes.push_back(std::move(node));
      return;
    }
    const Index plane = number * gate_.num_trees() + tree;
    gate_.splits().logits(plane, &x_, 1, &node.logit);
    const S half = S(gate_.options().gamma) / S(2);
    node.share = smooth_step(node.logit, S(gate_.options().gamma));
    node.margin = std::abs(std::abs(node.logit) - half);
    const Eigen::Map<const Vector<S>> w(gate_.splits().column(plane), gate_.input_dim());
    const S norm = w.norm();
    node.distance = norm > S(0) ? node.margin / norm : std::numeric_limits<S>::infinity();
    result_.distance = std::min(result_.distance, node.distance);
    node.parts = largest_parts(w);
    const S share = node.share;
    result_.nodes.push_back(std::move(node));
    const S left = reach * share;
    const S right = reach * (S(1) - share);
    if (left > S(0)) visit(tree, 2 * number + 1, depth + 1, left);
    if (right > S(0)) visit(tree, 2 * number + 2, depth + 1, right);
  }

 private:
  template <class W>
  std::vector<typename Explanation<S>::Part> largest_parts(const W& w) const {
    std::vector<Index> order(std::size_t(w.size()));
    std::iota(order.begin(), order.end(), Index(0));
    const Index shown = std::min(num_explained_parts, w.size());
    const auto size = [&](Index l) { return std::abs(w(l) * x_[l]); };
    std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](Index i, Index j) {
      return size(i) > size(j) || (size(i) == size(j) && i < j);
    });
    std::vector<typename Explanation<S>::Part> parts;
    for (Index i = 0; i < shown; ++i) {
      const Index feature = order[std::size_t(i)];
      if (w(feature) * x_[feature] != S(0)) parts.push_back({feature, w(feature) * x_[feature]});
    }
    return parts;
  }

  const CometGate<S>& gate_;
  const S* x_;
  Explanation<S>& result_;
};

/// `permutations` are one for all trees or one per tree; `route` is the gate's or its wrapper's.
template <class S, class G>
Explanation<S> explain(const G& routed, const CometGate<S>& gate, const ConstMatrixView<S>& x,
                       const std::vector<Permutation>& permutations, const ExplainNames& names) {
  check_equal("explain", "x.cols()", x.cols(), "one sample", 1);
  if (!names.features.empty())
    check_equal("explain", "names.features.size()", Index(names.features.size()), "x.rows()",
                x.rows());
  if (!names.experts.empty())
    check_equal("explain", "names.experts.size()", Index(names.experts.size()), "num_experts",
                gate.num_experts());
  Routing<S> row, slots;
  typename G::Workspace workspace;
  routed.route(x, row, workspace);
  typename CometGate<S>::Workspace slot_workspace;
  gate.route_slots(x, slots, slot_workspace);

  Explanation<S> result;
  result.names = names;
  result.distance = std::numeric_limits<S>::infinity();
  for (std::size_t i = 0; i < row.experts().size(); ++i)
    result.experts.push_back({row.experts()[i], row.weights()[i]});
  const Index trees = gate.num_trees();
  Explainer<S> explainer(gate, x.data(), result);
  for (Index tree = 0; tree < trees; ++tree) {
    std::size_t node = result.nodes.size();
    explainer.visit(tree, 0, 0, S(1));
    // A tree's slots ascend from its leftmost leaf to its rightmost, as its leaves here do.
    for (std::size_t i = 0; i < slots.experts().size(); ++i) {
      const ExpertId slot = slots.experts()[i];
      if (slot % trees != tree) continue;
      while (!result.nodes[node].is_leaf) ++node;
      result.nodes[node].expert =
          permutations[std::size_t(tree) % permutations.size()][slot / trees];
      result.nodes[node].weight = slots.weights()[i];
      ++node;
    }
  }
  return result;
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

}  // namespace detail

/// \brief Why `gate` routes a sample as it does: the splits it passes, how far each is from another
/// outcome, and the experts it ends at.
///
/// A split's outcome is the set of children that it gives weight to. It changes where the logit
/// crosses +-gamma/2, which is `margin` away in logits and margin / |w| in x; the least of these
/// distances is the distance of x from the nearest sample that reaches other leaves.
///
/// \code
///   std::cout << comet::explain(gate, x.col(0), {.features = {"age", "year"}});
/// \endcode
/// \param x      d x 1, one sample
/// \param names  of features and of experts; either may be left out
/// \throws std::invalid_argument if x is not one sample of the gate's input_dim(), or the number of
///         names does not fit
/// \par Cost     that of routing the sample three times; allocates
template <class S>
[[nodiscard]] Explanation<S> explain(const CometGate<S>& gate,
                                     const std::type_identity_t<ConstMatrixView<S>>& x,
                                     const ExplainNames& names = {}) {
  return detail::explain(gate, gate, x, {Permutation::identity(gate.num_experts())}, names);
}

/// \brief The same for a gate with relabelled experts. While a search is on it explains route(),
/// that is, the permutation, not the soft one that training mixes with.
template <class S>
[[nodiscard]] Explanation<S> explain(const PermutedGate<CometGate<S>>& gate,
                                     const std::type_identity_t<ConstMatrixView<S>>& x,
                                     const ExplainNames& names = {}) {
  return detail::explain(gate, gate.gate(), x, gate.permutations(), names);
}

/// \brief An explanation as text: the experts, then the nodes of each tree, indented by depth.
template <class S>
std::ostream& operator<<(std::ostream& out, const Explanation<S>& explanation) {
  std::ostringstream text;  // leaves the format of `out` alone
  text << std::setprecision(3);
  for (const auto& entry : explanation.experts)
    text << explanation.expert_name(entry.expert) << ": " << entry.weight << '\n';
  text << "same leaves within a distance of " << explanation.distance << '\n';
  for (const auto& node : explanation.nodes) {
    if (node.depth == 0) text << "tree " << node.tree << '\n';
    text << std::string(std::size_t(2 * node.depth + 2), ' ');
    if (node.is_leaf) {
      text << explanation.expert_name(node.expert) << ", weight " << node.weight << '\n';
      continue;
    }
    text << "split " << node.number << ": ";
    if (node.share == S(1)) {
      text << "left";
    } else if (node.share == S(0)) {
      text << "right";
    } else {
      text << "left " << node.share << ", right " << S(1) - node.share;
    }
    text << "; logit " << node.logit << ", margin " << node.margin << ", distance "
         << node.distance;
    for (const auto& part : node.parts)
      text << (&part == &node.parts.front() ? "; " : ", ") << explanation.feature_name(part.feature)
           << ' ' << std::showpos << part.value << std::noshowpos;
    text << '\n';
  }
  return out << text.str();
}

/// \brief An explanation as a Graphviz graph: `dot -Tsvg` makes a picture of it. Children that get
/// nothing are points.
template <class S>
void write_dot(const Explanation<S>& explanation, std::ostream& out) {
  std::ostringstream text;
  text << std::setprecision(3);
  text << "digraph comet {\n  node [shape=box];\n";
  const auto name = [](Index tree, Index number) {
    return "t" + std::to_string(tree) + "n" + std::to_string(number);
  };
  for (const auto& node : explanation.nodes) {
    const std::string self = name(node.tree, node.number);
    text << "  " << self << " [";
    std::ostringstream label;
    label << std::setprecision(3);
    if (node.is_leaf) {
      label << explanation.expert_name(node.expert) << "  " << node.weight;
      text << "shape=ellipse, label=" << detail::quoted(label.str()) << "];\n";
      continue;
    }
    label << "tree " << node.tree << ", split " << node.number << "  logit " << node.logit
          << "  margin " << node.margin;
    text << "label=" << detail::quoted(label.str()) << "];\n";
    const S shares[] = {node.share, S(1) - node.share};
    for (const Index side : {0, 1}) {
      const S share = shares[side];
      const std::string child = name(node.tree, 2 * node.number + 1 + side);
      // A product of tiny shares can round to nothing: such a child is not reached either.
      const bool reached = node.reach * share > S(0);
      if (!reached) text << "  " << child << " [shape=point, color=gray];\n";
      text << "  " << self << " -> " << child << " [label=\"" << (side == 0 ? "left " : "right ")
           << share << (reached ? "\"" : "\", style=dashed, color=gray") << "];\n";
    }
  }
  text << "}\n";
  out << text.str();
}

}  // namespace comet
