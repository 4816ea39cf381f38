// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <comet/core/types.hpp>

namespace comet {

/// \brief What to call things in an explanation.
struct ExplainNames {
  std::vector<std::string> features = {};  ///< one per row of x, or none: then `x[0]`, ...
  std::vector<std::string> experts = {};   ///< one per expert, or none: then `expert 0`, ...
};

/// \brief Why a gate sends one sample where it does, as data. inference/explain.hpp writes it as
/// text and as a picture.
///
/// A gate of trees or of selectors fills `nodes`: only what the sample reaches is listed, a path
/// per tree once the splits are saturated, before that a tree of paths. A gate that compares logits
/// fills `choices`.
template <class S>
struct Explanation {
  /// A feature's part of a logit: w_l x_l.
  struct Part {
    Index feature;  ///< Row of x.
    S value;        ///< w_l x_l.
  };

  /// A logit taken apart: value = constant + the parts + rest, up to rounding.
  struct Logit {
    S value = 0;                   ///< w . x + c
    S constant = 0;                ///< c
    std::vector<Part> parts = {};  ///< the features that say most, largest first
    S rest = 0;                    ///< what all other features say
  };

  /// A split or a leaf that the sample reaches.
  struct Node {
    Index tree;    ///< 0..k-1: the tree or selector.
    Index number;  ///< heap order: children of q are 2 q + 1 (left) and 2 q + 2 (right)
    Index depth;   ///< 0 at the root.
    S reach;       ///< share of the sample that arrives here, > 0
    bool is_leaf;  ///< Otherwise it is a split.

    // Of a split.
    Logit logit = {};  ///< of COMET's split, or of DSelect-k's bit
    S left = 0;        ///< share that goes left; exactly 0 or 1 beyond +-gamma/2
    S right = 0;       ///< share that goes right: the bit's value 1
    S margin = 0;      ///< how far the logit is from +-gamma/2, where a child comes or goes
    S distance = 0;    ///< margin / |w|: how far x is from there; infinite for w = 0

    // Of a leaf.
    ExpertId expert = 0;  ///< after any permutation
    S weight = 0;         ///< its part of the expert's weight
  };

  /// Why an expert was taken rather than another one.
  struct Choice {
    ExpertId expert;   ///< After any permutation.
    ExpertId against;  ///< the best that was not taken; the second where all are taken
    Logit lead = {};   ///< the expert's logit less the other's
    S distance = 0;    ///< how far x is from where the lead is 0
  };

  /// An entry of the sample's row.
  struct Entry {
    ExpertId expert;  ///< After any permutation.
    S weight;         ///< > 0.
  };

  std::vector<Entry> experts = {};   ///< as route() gives them, ascending by expert
  std::vector<Node> nodes = {};      ///< by tree, a node before its subtrees, left before right
  std::vector<Choice> choices = {};  ///< largest logit first
  S distance = 0;  ///< to the nearest change: every x that is nearer reaches the same leaves, or
                   ///< has the same experts taken
  ExplainNames names = {};  ///< What features and experts are called.

  /// Whether a child of a node has nodes here. DSelect-k loses what it sends beyond the last
  /// expert.
  [[nodiscard]] bool has_child(const Node& node, Index number) const {
    return std::any_of(nodes.begin(), nodes.end(), [&](const Node& other) {
      return other.tree == node.tree && other.number == number;
    });
  }
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

}  // namespace comet
