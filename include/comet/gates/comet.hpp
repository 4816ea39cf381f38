// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>

/// \file
/// \brief The COMET gate. Longer than other headers, because the walk down the trees and the way
/// back share their records.

namespace comet {

/// Settings of a CometGate, with defaults where there is a sensible one.
struct CometGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< number of trees, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;     ///< width of the smooth-step in units of the split logits, > 0
  double entropy = 0.0;   ///< strength lambda of the entropy penalty, >= 0
};

/// \brief COMET: k differentiable binary trees choose at most k of n experts, with exact zeros.
///
/// Legend: node q of tree j sends a share s = S(w_qj . x + c_qj) to its left child and 1 - s to its
/// right one (S is the smooth-step, exactly 0 and 1 outside +-gamma/2); v_ij is the product of the
/// shares on the path to leaf i; a_ij = alpha_ij . x + beta_ij is the leaf's logit.
///
///     g_i = sum_j v_ij exp(a_ij) / sum_{i',j'} v_i'j' exp(a_i'j')      (Ibrahim et al., KDD 2023)
///
/// One softmax over all k n pairs, not one per tree. Leaf i, counted from left to right, is expert
/// i: for n not a power of two that is not heap order. At the start all leaves are reached;
/// training saturates the splits, sped up by the entropy penalty lambda / B * sum_bji -v log(v +
/// 1e-6), and rows shrink to k entries.
///
/// Only nodes that a sample reaches are evaluated, forward and backward. That is exact: an
/// unreached subtree has weight 0 and, since S' is 0 wherever S is 0 or 1, gradient 0.
///
/// \par Cost      per sample d multiply-adds for each live node and leaf: k d (2 n - 1) at the
///                start, k d (log2 n + 1) once saturated; backward twice that
/// \par Threads   route() and forward() are const: concurrent calls are safe with distinct
///                routings and workspaces
/// \par Differs from the published code  the weights use v itself, not exp(log(v + 1e-8))
/// \tparam S      float or double
/// \see TopKGate, which is cheaper for small n but selects without a gradient
template <class S>
class CometGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Options = CometGateOptions;  ///< Settings of the constructor.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
  class Workspace;

  /// Split parameters uniform in +-gamma/100, leaf parameters uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  CometGate(CometGateOptions options, RandomKey key)
      : options_(validated(options)),
        splits_(options.input_dim, (options.num_experts - 1) * options.k),
        leaves_(options.input_dim, options.num_experts * options.k) {
    splits_.initialize(options.gamma / 100, key.fold(0));
    leaves_.initialize(0.05, key.fold(1));
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Number of trees k.
  [[nodiscard]] Index num_trees() const noexcept { return options_.k; }
  /// Before saturation a row can hold every expert; afterwards at most num_trees().
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const CometGateOptions& options() const noexcept { return options_; }

  /// \brief Changes the smooth-step's width, for schedules that harden the splits.
  void set_gamma(double gamma) {
    detail::check_positive("CometGate::set_gamma", "gamma", gamma);
    options_.gamma = gamma;
  }
  /// \brief Changes the strength of the entropy penalty.
  void set_entropy(double entropy) {
    detail::check_not_negative("CometGate::set_entropy", "entropy", entropy);
    options_.entropy = entropy;
  }

  /// Split hyperplanes: column q k + j is node q (heap order) of tree j.
  [[nodiscard]] const detail::Hyperplanes<S>& splits() const noexcept { return splits_; }
  /// Leaf logits: column i k + j is expert i of tree j.
  [[nodiscard]] const detail::Hyperplanes<S>& leaves() const noexcept { return leaves_; }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), x or a leaf logit is not finite, or
  ///         a split logit is nan
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("CometGate::route", x, routing, workspace, Purpose::inference, Rows::experts);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
               Workspace& workspace) const {
    evaluate("CometGate::forward", x, routing, workspace, Purpose::training, Rows::experts);
  }

  /// \brief The weights of single trees: entries are slots i k + j for leaf i of tree j, n k in
  /// all, instead of experts. Summing a leaf's k slots gives route(). For permutations per tree.
  void route_slots(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("CometGate::route_slots", x, routing, workspace, Purpose::inference, Rows::slots);
  }
  /// \brief forward() for slots; backward() then takes one derivative per slot entry.
  void forward_slots(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
                     Workspace& workspace) const {
    evaluate("CometGate::forward_slots", x, routing, workspace, Purpose::training, Rows::slots);
  }
  /// Slots per expert.
  [[nodiscard]] Index num_selectors() const noexcept { return options_.k; }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param x, routing  as in the forward() that filled the workspace
  /// \param dweights    one derivative per entry of the routing
  /// \param dx          d x B, added to; an empty view if not wanted
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace);

  /// \brief Entropy penalty of the last forward(): lambda times the mean over the batch.
  [[nodiscard]] S regularization(const Workspace& workspace) const noexcept {
    return workspace.regularization_;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    splits_.visit("split", f);
    leaves_.visit("leaf", f);
  }

 private:
  enum class Purpose { inference, training };
  enum class Rows { experts, slots };  // what an entry of a routing stands for
  class Tile;

  static CometGateOptions validated(const CometGateOptions& options) {
    detail::check_at_least("CometGate", "input_dim", options.input_dim, 1);
    detail::check_at_least("CometGate", "num_experts", options.num_experts, 1);
    detail::check_at_least("CometGate", "k", options.k, 1);
    detail::check_at_most("CometGate", "k", options.k, "num_experts", options.num_experts);
    detail::check_positive("CometGate", "gamma", options.gamma);
    detail::check_not_negative("CometGate", "entropy", options.entropy);
    return options;
  }

  void evaluate(std::string_view where, const ConstMatrixView<S>& x, Routing<S>& routing,
                Workspace& workspace, Purpose purpose, Rows rows) const;

  CometGateOptions options_;
  detail::Hyperplanes<S> splits_;  // d x (n-1)k
  detail::Hyperplanes<S> leaves_;  // d x n k
};

/// \brief A few samples on their way down all trees: what was evaluated, in the order of a walk
/// that visits left subtrees first, so that experts come out in ascending order.
template <class S>
class CometGate<S>::Tile {
 public:
  /// Walks the trees for samples first .. first+count-1 and turns the leaves that were reached into
  /// weights. `sizes` receives the number of entries of each sample.
  void descend(const CometGate& gate, const ConstMatrixView<S>& x, Index first, Index count,
               Purpose purpose, Rows rows, std::string_view where, std::span<std::int32_t> sizes) {
    first_ = first;
    count_ = count;
    purpose_ = purpose;
    rows_ = rows;
    for (Index lane = 0; lane < count; ++lane) x_[lane] = x.col(first + lane).data();
    const Index trees = gate.num_trees();
    const auto depth = Index(std::bit_width(std::size_t(gate.num_experts() - 1)));
    num_live_.resize(std::size_t((depth + 1) * trees));
    live_.resize(std::size_t((depth + 1) * trees * lanes));
    reach_.resize(live_.size());
    share_.resize(live_.size());
    splits_.clear();
    leaves_.clear();
    visits_.clear();
    std::fill_n(sum_, count, S(0));
    for (Index tree = 0; tree < trees; ++tree) {
      num_live_[std::size_t(tree)] = count;
      std::iota(live_.begin() + tree * lanes, live_.begin() + tree * lanes + count, 0);
      std::fill_n(reach_.begin() + tree * lanes, count, S(1));
    }
    visit(gate, 0, 0);
    normalize(where, sizes.subspan(std::size_t(first), std::size_t(count)));
  }

  /// Copies the weights to where `routing` has room for them.
  void fill(Routing<S>& routing) const {
    for (const Leaf& leaf : leaves_) {
      const auto entry =
          std::size_t(routing.offsets()[std::size_t(first_ + leaf.lane)]) + std::size_t(leaf.entry);
      const S weight = leaf.reach * leaf.factor;
      if (leaf.starts_entry) {
        routing.experts()[entry] = leaf.label;
        routing.weights()[entry] = weight;
      } else {
        routing.weights()[entry] += weight;
      }
    }
  }

  /// Entropy of the reach probabilities, summed over the tile's samples and trees.
  [[nodiscard]] S entropy() const {
    S sum = 0;
    for (const Leaf& leaf : leaves_) sum += entropy_term(leaf.reach);
    return sum;
  }

  /// Derivatives by the logits of all that was evaluated. `entropy_factor` is lambda / B.
  void ascend(const CometGate& gate, const Routing<S>& routing, std::span<const S> dweights,
              S entropy_factor, Index tile, detail::LogitGradients<S>& splits,
              detail::LogitGradients<S>& leaves) {
    const Index trees = gate.num_trees();
    // The derivative by a weight less its mean under the softmax.
    S mean[lanes];
    for (Index lane = 0; lane < count_; ++lane) {
      mean[lane] = 0;
      for (auto i = routing.offsets()[std::size_t(first_ + lane)];
           i < routing.offsets()[std::size_t(first_ + lane) + 1]; ++i)
        mean[lane] += routing.weights()[std::size_t(i)] * dweights[std::size_t(i)];
    }
    // by_reach holds the derivative by a node's reach: one slot for left and one for right
    // children per level, since a node is left before its sibling's subtree is entered.
    by_reach_.resize(2 * reach_.size());
    const auto slot = [&](Index level, Index node, Index tree) {
      const Index side = node % 2;  // in heap numbering left children are odd
      return by_reach_.data() + (((level * 2 + side) * trees) + tree) * lanes;
    };
    const S gamma = S(gate.options_.gamma);
    for (auto visit = visits_.rbegin(); visit != visits_.rend(); ++visit) {
      const Index level = visit->level;
      const Index node = visit->node;
      if (visit->is_leaf) {
        for (auto i = visit->begin; i < visit->end; ++i) {
          const Leaf& leaf = leaves_[i];
          const auto entry = std::size_t(routing.offsets()[std::size_t(first_ + leaf.lane)]) +
                             std::size_t(leaf.entry);
          const S by_weight = dweights[entry] - mean[leaf.lane];
          leaves.add(tile, leaf.plane, first_ + leaf.lane, leaf.reach * leaf.factor * by_weight);
          slot(level, node, leaf.tree)[leaf.lane] =
              leaf.factor * by_weight + entropy_factor * entropy_term_derivative(leaf.reach);
        }
      } else {
        for (auto i = visit->begin; i < visit->end; ++i) {
          const Split& split = splits_[i];
          const S left_reach = split.reach * split.share;
          const S right_reach = split.reach * (S(1) - split.share);
          const S left =
              left_reach > S(0) ? slot(level + 1, 2 * node + 1, split.tree)[split.lane] : S(0);
          const S right =
              right_reach > S(0) ? slot(level + 1, 2 * node + 2, split.tree)[split.lane] : S(0);
          slot(level, node, split.tree)[split.lane] =
              split.share * left + (S(1) - split.share) * right;
          splits.add(tile, node * trees + split.tree, first_ + split.lane,
                     split.reach * (left - right) * smooth_step_derivative(split.logit, gamma));
        }
      }
    }
  }

 private:
  static constexpr Index lanes = detail::samples_per_tile;

  struct Split {
    std::int32_t tree;
    std::int32_t lane;
    S logit;
    S share;  // that goes left
    S reach;
  };
  struct Leaf {
    std::int32_t plane;  // i k + j for leaf i of tree j
    ExpertId label;      // what the entry stands for: expert i, or slot i k + j
    std::int32_t tree;
    std::int32_t lane;
    std::int32_t entry;  // of the sample's row; leaves of several trees may share it
    bool starts_entry;
    S reach;
    S factor;  // the logit, then exp(logit) / sum: the weight is reach * factor
  };
  struct Visit {
    std::int32_t node;
    std::int32_t level;
    std::size_t begin;  // records of the node
    std::size_t end;
    bool is_leaf;
  };

  void visit(const CometGate& gate, Index node, Index level) {
    const Index n = gate.num_experts();
    const bool is_leaf = node >= n - 1;
    const std::size_t begin = is_leaf ? leaves_.size() : splits_.size();
    if (is_leaf) {
      visit_leaf(gate, leaf_rank(node, n), level);
    } else {
      visit_split(gate, node, level);
    }
    if (purpose_ == Purpose::training)
      visits_.push_back({std::int32_t(node), std::int32_t(level), begin,
                         is_leaf ? leaves_.size() : splits_.size(), is_leaf});
    if (is_leaf) return;
    const auto left = [](S reach, S share) { return reach * share; };
    const auto right = [](S reach, S share) { return reach * (S(1) - share); };
    if (hand_down(gate, level, left)) visit(gate, 2 * node + 1, level + 1);
    if (hand_down(gate, level, right)) visit(gate, 2 * node + 2, level + 1);
  }

  /// Hands a child the samples that reach it; false if there is none in any tree.
  template <class Rule>
  bool hand_down(const CometGate& gate, Index level, Rule rule) {
    const Index trees = gate.num_trees();
    Index total = 0;
    for (Index tree = 0; tree < trees; ++tree) {
      const Index parent = level * trees + tree;
      const Index child = parent + trees;
      Index live = 0;
      for (Index i = 0; i < num_live_[std::size_t(parent)]; ++i) {
        const auto from = std::size_t(parent * lanes + i);
        const auto to = std::size_t(child * lanes + live);
        live_[to] = live_[from];
        reach_[to] = rule(reach_[from], share_[from]);
        live += reach_[to] > S(0);
      }
      num_live_[std::size_t(child)] = live;
      total += live;
    }
    return total > 0;
  }

  void visit_split(const CometGate& gate, Index node, Index level) {
    const Index trees = gate.num_trees();
    const S gamma = S(gate.options_.gamma);
    for (Index tree = 0; tree < trees; ++tree) {
      const std::size_t list = evaluate(gate.splits_, node * trees + tree, level * trees + tree);
      for (std::size_t i = 0; i < num_evaluated_; ++i) {
        const S share = smooth_step(logits_[i], gamma);
        const std::int32_t lane = live_[list + i];
        share_[list + i] = share;
        // Nothing below this node counts as reached then, but normalize() has to know.
        if (std::isnan(share)) [[unlikely]]
          sum_[lane] = share;
        if (purpose_ == Purpose::training)
          splits_.push_back({std::int32_t(tree), lane, logits_[i], share, reach_[list + i]});
      }
    }
  }

  void visit_leaf(const CometGate& gate, Index expert, Index level) {
    const Index trees = gate.num_trees();
    for (Index tree = 0; tree < trees; ++tree) {
      const Index plane = expert * trees + tree;
      const auto label = ExpertId(rows_ == Rows::slots ? plane : expert);
      const std::size_t list = evaluate(gate.leaves_, plane, level * trees + tree);
      for (std::size_t i = 0; i < num_evaluated_; ++i)
        leaves_.push_back({std::int32_t(plane), label, std::int32_t(tree), live_[list + i], 0,
                           false, reach_[list + i], logits_[i]});
    }
  }

  /// Logits of one hyperplane for the samples that are live in a tree at a level.
  /// \return where their list begins
  std::size_t evaluate(const detail::Hyperplanes<S>& planes, Index plane, Index level_and_tree) {
    const auto list = std::size_t(level_and_tree * lanes);
    num_evaluated_ = std::size_t(num_live_[std::size_t(level_and_tree)]);
    for (std::size_t i = 0; i < num_evaluated_; ++i) live_x_[i] = x_[live_[list + i]];
    planes.logits(plane, live_x_, Index(num_evaluated_), logits_);
    return list;
  }

  /// Position of a heap leaf from left to right: the deepest level comes first.
  static Index leaf_rank(Index node, Index n) {
    const auto deepest = Index(std::bit_floor(std::size_t(2 * n - 1))) - 1;
    return node >= deepest ? node - deepest : node + n - deepest;
  }

  // Softmax over the leaves that were reached; the largest logit of each sample is subtracted.
  void normalize(std::string_view where, std::span<std::int32_t> sizes) {
    S largest[lanes];
    ExpertId last[lanes];
    std::fill_n(largest, count_, -std::numeric_limits<S>::infinity());
    std::fill_n(last, count_, ExpertId(-1));
    std::fill(sizes.begin(), sizes.end(), 0);
    for (const Leaf& leaf : leaves_) largest[leaf.lane] = std::max(largest[leaf.lane], leaf.factor);
    for (Leaf& leaf : leaves_) {
      auto& size = sizes[std::size_t(leaf.lane)];
      leaf.starts_entry = leaf.label != last[leaf.lane];
      last[leaf.lane] = leaf.label;
      size += leaf.starts_entry;
      leaf.entry = size - 1;
      leaf.factor = std::exp(leaf.factor - largest[leaf.lane]);
      sum_[leaf.lane] += leaf.reach * leaf.factor;
    }
    for (Index lane = 0; lane < count_; ++lane)
      // A denormal sum, of a leaf that is hardly reached, would make infinite weights.
      if (!(sum_[lane] >= std::numeric_limits<S>::min() && std::isfinite(sum_[lane]))) [[unlikely]]
        detail::raise(where, "the logits of sample " + std::to_string(first_ + lane) +
                                 " overflow or a parameter is not finite");
    for (Leaf& leaf : leaves_) leaf.factor /= sum_[leaf.lane];
  }

  Index first_ = 0;
  Index count_ = 0;
  Purpose purpose_ = Purpose::inference;
  Rows rows_ = Rows::experts;
  // The path that is open now: per level and tree, the samples that are live there.
  std::vector<Index> num_live_;
  std::vector<std::int32_t> live_;  // level x tree x up to `lanes` of them
  std::vector<S> reach_;            // the same places
  std::vector<S> share_;
  std::size_t num_evaluated_ = 0;
  std::vector<S> by_reach_;  // level x side x tree x lane
  std::vector<Split> splits_;
  std::vector<Leaf> leaves_;
  std::vector<Visit> visits_;
  const S* x_[lanes];
  const S* live_x_[lanes];
  S logits_[lanes];
  S sum_[lanes];  // of reach * exp(logit) over a sample's leaves; nan if a split's logit is
};

/// \brief Scratch of a CometGate: give each thread its own.
template <class S>
class CometGate<S>::Workspace {
 public:
  /// Empty: it grows with the first batch.
  Workspace() = default;
  /// Shares the work among `threads`, which must outlive the workspace.
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  ThreadPool* pool = nullptr;  ///< not owned; none runs everything in the calling thread

 private:
  friend class CometGate;

  std::vector<Tile> tiles_;
  std::vector<std::int32_t> sizes_;  // entries of each sample
  detail::LogitGradients<S> split_gradients_;
  detail::LogitGradients<S> leaf_gradients_;
  Index num_samples_ = -1;  // of the forward() that backward() may follow
  S regularization_ = 0;
};

template <class S>
void CometGate<S>::evaluate(std::string_view where, const ConstMatrixView<S>& x,
                            Routing<S>& routing, Workspace& workspace, Purpose purpose,
                            Rows rows) const {
  auto& ws = workspace;
  ws.num_samples_ = -1;
  ws.regularization_ = 0;
  detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
  detail::check_finite(where, "x", x);
  const Index num_samples = x.cols();
  const Index tiles = detail::num_tiles(num_samples);
  if (Index(ws.tiles_.size()) < tiles) ws.tiles_.resize(std::size_t(tiles));
  ws.sizes_.resize(std::size_t(num_samples));

  // Twice the cost of a saturated walk: rather too many threads than too few.
  const double nodes = double(num_trees()) * 2 * double(std::bit_width(std::size_t(num_experts())));
  ThreadPool* pool = detail::worth_threads(ws.pool, double(x.size()) * nodes);
  parallel_for(pool, tiles, [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    ws.tiles_[std::size_t(t)].descend(*this, x, first,
                                      std::min(detail::samples_per_tile, num_samples - first),
                                      purpose, rows, where, ws.sizes_);
  });
  routing.resize(ws.sizes_);
  for (Index t = 0; t < tiles; ++t) ws.tiles_[std::size_t(t)].fill(routing);

  if (purpose == Purpose::inference) return;
  ws.num_samples_ = num_samples;
  if (options_.entropy > 0 && num_samples > 0) {
    for (Index t = 0; t < tiles; ++t) ws.regularization_ += ws.tiles_[std::size_t(t)].entropy();
    ws.regularization_ *= S(options_.entropy) / S(num_samples);
  }
}

template <class S>
void CometGate<S>::backward(const ConstMatrixView<S>& x, const Routing<S>& routing,
                            std::span<const S> dweights, MatrixView<S> dx, Workspace& workspace) {
  auto& ws = workspace;
  detail::check_backward("CometGate::backward", x, input_dim(), routing, dweights, dx,
                         ws.num_samples_);
  if (x.cols() == 0) return;
  const Index tiles = detail::num_tiles(x.cols());
  ws.split_gradients_.start(tiles);
  ws.leaf_gradients_.start(tiles);
  const S entropy_factor = S(options_.entropy) / S(x.cols());
  ThreadPool* pool = detail::worth_threads(ws.pool, double(routing.num_entries()) * 64);
  parallel_for(pool, tiles, [&](Index t, Index) {
    ws.tiles_[std::size_t(t)].ascend(*this, routing, dweights, entropy_factor, t,
                                     ws.split_gradients_, ws.leaf_gradients_);
  });
  ws.split_gradients_.apply(splits_, x, dx, ws.pool);
  ws.leaf_gradients_.apply(leaves_, x, dx, ws.pool);
}

}  // namespace comet
