// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <limits>
#include <span>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/detail/comet_source.hpp>
#include <comet/gates/detail/even_splits.hpp>
#include <comet/gates/detail/explain_soft_tree.hpp>
#include <comet/gates/detail/logit_gradients.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/portable/route.hpp>

namespace comet {

/// Settings of a CometGate, with defaults where there is a sensible one.
struct CometGateOptions {
  Index input_dim = 0;       ///< d >= 1
  Index num_experts = 0;     ///< n >= 1
  Index k = 2;               ///< number of trees, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;        ///< width of the smooth-step in units of the split logits, > 0
  double entropy = 0.0;      ///< strength lambda of the entropy penalty, >= 0
  double spread = 0.0;       ///< strength of the reward for even use, >= 0
  double split_scale = 0.0;  ///< s >= 0 of the split parameters at the start; 0 as published
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
/// 1e-6), and rows shrink to k entries. That alone may send every sample to the same leaves: the
/// option spread rewards, per tree, the entropy of the batch's mean v.
///
/// Only nodes that a sample reaches are evaluated, forward and backward. That is exact: an
/// unreached subtree has weight 0 and, since S' is 0 wherever S is 0 or 1, gradient 0.
///
/// \par Cost      per sample d multiply-adds for each live node and leaf: k d (2 n - 1) at the
///                start, k d (log2 n + 1) once saturated; backward twice that
/// \par Threads   route() and forward() are const: concurrent calls are safe with distinct
///                routings and passes
/// \par Differs from the published code  the weights use v itself, not exp(log(v + 1e-8))
/// \tparam S      float or double
/// \see TopKGate, which is cheaper for small n but selects without a gradient
/// \see docs/math.md, equations (2)-(6) and (31)
template <class S>
class CometGate {
 public:
  using Scalar = S;                                  ///< float or double.
  using Options = CometGateOptions;                  ///< Settings of the constructor.
  static constexpr std::string_view name = "comet";  ///< Of its kind.
  class Workspace;

  /// Split parameters uniform in +-gamma/100 or, with a split_scale s, weights normal with standard
  /// deviation s/sqrt(d) and biases 0; leaf parameters uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  CometGate(CometGateOptions options, RandomKey key)
      : options_(validated(options)),
        splits_(options.input_dim, (options.num_experts - 1) * options.k),
        leaves_(options.input_dim, options.num_experts * options.k) {
    detail::initialize_splits(splits_, options, key.fold(0));
    leaves_.initialize(0.05, key.fold(1));
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Number of trees k, which are its selectors.
  [[nodiscard]] Index num_selectors() const noexcept { return options_.k; }
  /// Before saturation a row can hold every expert; afterwards at most num_selectors().
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const CometGateOptions& options() const noexcept { return options_; }
  /// Split hyperplanes: column q k + j is node q (heap order) of tree j.
  [[nodiscard]] const Hyperplanes<S>& splits() const noexcept { return splits_; }
  /// Leaf logits: column i k + j is expert i of tree j.
  [[nodiscard]] const Hyperplanes<S>& leaves() const noexcept { return leaves_; }

  /// \brief Changes the smooth-step's width, which hardens the splits, and the strengths of the
  /// entropy penalty and of the reward for even use.
  /// \throws std::invalid_argument if a number is outside its bounds; nothing is changed then
  void anneal(const GateAnnealing& annealing) {
    options_ = detail::annealed<S>("CometGate::anneal", options_, annealing);
  }

  /// \brief Sets the splits so that each leaf of each tree gets as many samples as another. Call it
  /// before training. \see comet::split_evenly
  void split_evenly(const Samples<S>& samples, RandomKey key, double deviation = 0.2) {
    constexpr const char* where = "CometGate::split_evenly";
    detail::EvenSplits<S> splits(where, samples, input_dim(), num_experts(), deviation);
    for (Index j = 0; j < num_selectors(); ++j)
      splits.grow(splits_, options_.gamma, num_selectors(), j, key.fold(j));
  }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a leaf logit is not finite, or a split logit is nan
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<CometGate>& pass) const {
    evaluate("CometGate::route", samples, routing, pass, Purpose::inference, Rows::experts);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<CometGate>& pass) const {
    evaluate("CometGate::forward", samples, routing, pass, Purpose::training, Rows::experts);
  }

  /// \brief The weights of single trees: entries are slots i k + j for leaf i of tree j, n k in
  /// all, instead of experts. Summing a leaf's k slots gives route(). For permutations per tree.
  void route_slots(const Samples<S>& samples, Routing<S>& routing, Pass<CometGate>& pass) const {
    evaluate("CometGate::route_slots", samples, routing, pass, Purpose::inference, Rows::slots);
  }
  /// \brief forward() for slots; backward() then takes one derivative per slot entry.
  void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
                     Pass<CometGate>& pass) const {
    evaluate("CometGate::forward_slots", samples, routing, pass, Purpose::training, Rows::slots);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() of this pass
  /// \param dweights  one derivative per entry of the routing
  /// \param dx        d x B, added to; no_gradient if it is not wanted
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<CometGate>& pass) const;

  /// \brief Entropy penalty of the last forward(), lambda times the mean over the batch, less the
  /// reward for even use.
  [[nodiscard]] S regularization(const Pass<CometGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief A gate that routes to the same bits and does nothing else. \see comet::freeze
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenCometGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, num_selectors());
    return {{num_experts(), num_selectors(), gamma(), splits_, leaves_},
            detail::slot_labels(permutations, num_experts(), num_selectors())};
  }

  /// \brief Why a sample goes where it goes. \see comet::explain
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const;

  /// Calls f(name, child) for the splits and the leaves.
  template <class F>
  void visit(F&& f) const {
    f("split", splits_);
    f("leaf", leaves_);
  }

 private:
  using Tile = detail::SoftTreeTile<S>;
  using Rows = detail::Rows;
  using Purpose = detail::Purpose;

  static CometGateOptions validated(const CometGateOptions& options) {
    detail::check_at_least("CometGate", "input_dim", options.input_dim, 1);
    detail::check_soft_tree<S>("CometGate", options);
    detail::check_not_negative_as<S>("CometGate", "split_scale", options.split_scale);
    return options;
  }

  [[nodiscard]] S gamma() const { return S(options_.gamma); }
  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<CometGate>& pass, Purpose purpose, Rows rows) const;
  void descend(std::string_view where, const ConstMatrixView<S>& x, Tile& tile, Purpose purpose,
               Rows rows) const;
  void ascend(Tile& tile, Index number, const Routing<S>& routing, std::span<const S> dweights,
              S entropy, Workspace& ws) const;
  static void add_weight(S& weight, const typename Tile::Leaf& leaf) {
    const S part = leaf.reach * leaf.factor;
    if (leaf.starts_entry) {
      weight = part;
    } else {
      weight += part;
    }
  }

  CometGateOptions options_;
  Hyperplanes<S> splits_;  // d x (n-1)k
  Hyperplanes<S> leaves_;  // d x n k
  detail::Identity identity_;
};

/// \brief Scratch of a CometGate.
template <class S>
class CometGate<S>::Workspace {
  friend class CometGate;

  detail::SoftTreeBatch<S, Tile> batch_;
  detail::LogitGradients<S> split_gradients_;
  detail::LogitGradients<S> leaf_gradients_;
  detail::SpreadPenalty<S> spread_;
  Index num_rows_ = 0;  // that are no padding, of all ranks if there is a penalty
  S regularization_ = 0;
};

template <class S>
void CometGate<S>::evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                            Pass<CometGate>& pass, Purpose purpose, Rows rows) const {
  auto& ws = pass.workspace;
  ws.regularization_ = 0;
  ws.batch_.start(where, samples, input_dim());
  const Index num_live = ws.batch_.live().size();
  // Twice the cost of a saturated walk: rather too many threads than too few.
  const double nodes =
      double(num_selectors()) * 2 * double(std::bit_width(std::size_t(num_experts())));
  ws.batch_.run(
      routing, detail::worth_threads(pass.pool, double(input_dim()) * double(num_live) * nodes),
      [&](Tile& tile) { descend(where, samples.features, tile, purpose, rows); }, add_weight);
  if (purpose == Purpose::inference) return;
  ws.batch_.keep(identity_, samples, routing);
  const bool penalties = options_.entropy > 0 || options_.spread > 0;
  ws.num_rows_ = penalties ? pass.rank_sum.count(num_live) : num_live;
  double undecided = 0;
  if (options_.entropy > 0 && ws.num_rows_ > 0) {
    ws.batch_.for_each_leaf(
        [&](Index /*slot*/, S reach) { undecided += double(entropy_term(reach)); });
    undecided = options_.entropy * pass.rank_sum(undecided) / double(ws.num_rows_);
  }
  const double spread = ws.spread_.evaluate(
      options_.spread, leaves_.size(), ws.num_rows_,
      [&](auto add) { ws.batch_.for_each_leaf(add); }, pass.rank_sum);
  ws.regularization_ = S(undecided + spread);
}

/// Down the trees, then a softmax over the leaves that were reached.
template <class S>
void CometGate<S>::descend(std::string_view where, const ConstMatrixView<S>& x, Tile& tile,
                           Purpose purpose, Rows rows) const {
  detail::CometSource<S> source(splits_, leaves_, num_selectors(), gamma(), x, tile);
  tile.descend(source, portable::TreeShape(num_experts()), purpose, rows);
  S largest[Tile::lanes];
  S sum[Tile::lanes];
  for (int lane = 0; lane < tile.count(); ++lane) {
    largest[lane] = -std::numeric_limits<S>::infinity();
    sum[lane] = tile.nan(lane);
  }
  const auto leaves = tile.leaves();
  portable::exponentiate(leaves.data(), Index(leaves.size()), largest, sum);
  for (int lane = 0; lane < tile.count(); ++lane)
    if (!portable::is_divisor(sum[lane])) [[unlikely]]
      detail::raise_not_finite(where, "the logits of sample " + std::to_string(tile.sample(lane)),
                               "overflow or a parameter is not finite");
  for (auto& leaf : leaves) leaf.factor /= sum[leaf.lane];
}

template <class S>
void CometGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                            std::span<const S> dweights, MatrixView<S> dx,
                            Pass<CometGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("CometGate::backward", routing, dweights, dx, ws.batch_.forward(),
                            identity_);
  if (ws.batch_.size() == 0) return;
  ws.split_gradients_.start(ws.batch_.size());
  ws.leaf_gradients_.start(ws.batch_.size());
  const S entropy = S(options_.entropy) / S(ws.num_rows_);
  ThreadPool* pool = detail::worth_threads(pass.pool, double(routing.num_entries()) * 64);
  parallel_for(pool, ws.batch_.size(),
               [&](Index t, Index) { ascend(ws.batch_[t], t, routing, dweights, entropy, ws); });
  GradientView<S> gradients = pass.gradients(*this);
  ws.split_gradients_.apply(splits_, gradients.next(splits_), samples.features, dx, pass.pool);
  ws.leaf_gradients_.apply(leaves_, gradients.next(leaves_), samples.features, dx, pass.pool);
}

/// Derivatives by the logits of all that was evaluated. `entropy` is lambda / B.
template <class S>
void CometGate<S>::ascend(Tile& tile, Index number, const Routing<S>& routing,
                          std::span<const S> dweights, S entropy, Workspace& ws) const {
  // The derivative by a weight less its mean under the softmax.
  S mean[Tile::lanes];
  for (int lane = 0; lane < tile.count(); ++lane) {
    const auto b = std::size_t(tile.sample(lane));
    mean[lane] = 0;
    for (auto i = routing.offsets()[b]; i < routing.offsets()[b + 1]; ++i)
      mean[lane] += routing.weights()[std::size_t(i)] * dweights[std::size_t(i)];
  }
  const auto leaves = tile.leaves();
  const auto splits = tile.splits();
  const Index trees = num_selectors();
  tile.ascend(
      trees, [](Index, Index) { return false; },
      [&](std::size_t i) {
        const auto& leaf = leaves[i];
        const S by_weight = dweights[tile.place(leaf, routing)] - mean[leaf.lane];
        ws.leaf_gradients_.add(number, leaf.slot, tile.sample(leaf.lane),
                               leaf.reach * leaf.factor * by_weight);
        return leaf.factor * by_weight + entropy * entropy_term_derivative(leaf.reach) +
               ws.spread_.derivative(leaf.slot);
      },
      [&](Index node, std::size_t i, S left, S right) {
        const auto& split = splits[i];
        ws.split_gradients_.add(
            number, node * trees + split.tree, tile.sample(split.lane),
            split.reach * (left - right) * smooth_step_derivative(split.logit, gamma()));
      });
}

template <class S>
Explanation<S> CometGate<S>::explain(const ConstMatrixView<S>& x,
                                     std::span<const Permutation> permutations,
                                     const ExplainNames& names) const {
  detail::check_explainable(*this, x, names);
  Tile tile;
  tile.assign_one();
  descend("CometGate::explain", x, tile, Purpose::training,
          permutations.size() > 1 ? Rows::slots : Rows::experts);
  return detail::explain_soft_tree(
      tile, x.data(), gamma(), num_selectors(), permutations, names, add_weight,
      [&](Index node, Index /*level*/, Index tree) {
        return detail::PlaneOf<S>{splits_, node * num_selectors() + tree};
      });
}

}  // namespace comet
