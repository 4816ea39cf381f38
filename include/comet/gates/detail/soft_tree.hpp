// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/kernels/portable/soft_tree.hpp>

/// \file
/// \brief The walk down soft trees for a tile of samples, with records for the backward pass.

namespace comet::detail {

/// What an entry of a routing stands for.
enum class Rows { experts, slots };

/// Whether a walk is recorded for a backward pass.
enum class Purpose { inference, training };

/// \brief A few samples on their way down k trees: what was evaluated, in the order of a walk that
/// visits left subtrees first, so that leaves come out in ascending order.
///
/// A source tells the trees apart: COMET's and DSelect-k's differ in where a split's shares come
/// from and what stands at a leaf. It has trees(), cuts(node, level), and, for the samples of a
/// list,
///
///     split(node, level, tree, list, logits)  sets the list's shares; logits are for its own use
///     leaf(slot, tree, list, factors)
///
/// and has_entry(reach, factor, rows): whether a leaf without weight has an entry in its row.
template <class S>
class SoftTreeTile {
 public:
  static constexpr int lanes = int(samples_per_tile);
  using List = portable::LiveList<lanes, S>;

  /// A split that a sample reaches.
  struct Split {
    std::int32_t tree;
    std::int32_t lane;
    S logit;  // if the source has set it
    S left;   // shares
    S right;
    S reach;
  };
  /// A leaf that a sample reaches. Its weight is reach * factor.
  struct Leaf {
    std::int32_t slot;  // i k + j for leaf i of tree j
    ExpertId label;     // what the entry stands for: expert i, or the slot
    std::int32_t tree;
    std::int32_t lane;
    std::int32_t entry;  // of the sample's row; leaves of several trees may share it; -1 for none
    bool starts_entry;
    S reach;
    S factor;
  };
  /// A node that some sample reaches in some tree.
  struct Visit {
    std::int32_t node;
    std::int32_t level;
    std::size_t begin;  // records of the node
    std::size_t end;
    bool is_leaf;
  };

  /// Takes samples first .. first+count-1 of those that are live.
  void assign(const LiveSamples& live, Index first) {
    first_ = first;
    count_ = int(std::min(Index(lanes), live.size() - first));
    for (int lane = 0; lane < count_; ++lane) sample_[lane] = std::int32_t(live[first + lane]);
  }
  /// Takes one sample.
  void assign_one() {
    first_ = 0;
    count_ = 1;
    sample_[0] = 0;
  }

  SoftTreeTile& walk() { return *this; }
  /// Of the first sample among those that are live.
  [[nodiscard]] Index first() const { return first_; }
  /// Number of samples.
  [[nodiscard]] int count() const { return count_; }
  /// Number of a sample in its batch.
  [[nodiscard]] Index sample(int lane) const { return sample_[lane]; }

  [[nodiscard]] std::span<const Visit> visits() const { return visits_; }
  [[nodiscard]] std::span<const Split> splits() const { return splits_; }
  [[nodiscard]] std::span<Leaf> leaves() { return leaves_; }
  [[nodiscard]] std::span<const Leaf> leaves() const { return leaves_; }

  /// Walks down the trees.
  template <class Source>
  void descend(Source& source, const portable::TreeShape& shape, Purpose purpose, Rows rows) {
    shape_ = shape;
    purpose_ = purpose;
    rows_ = rows;
    const Index trees = source.trees();
    lists_.resize(std::size_t(shape.num_levels * trees));
    splits_.clear();
    leaves_.clear();
    visits_.clear();
    std::fill_n(nan_, count_, S(0));
    std::fill_n(last_, count_, ExpertId(-1));
    std::fill_n(size_, count_, 0);
    portable::start_walk(lists_.data(), trees, count_);
    Walker<Source> walker{*this, source};
    portable::walk(walker, lists_.data());
  }

  /// 0, or nan if a split's logit of the sample is: below such a node nothing is reached.
  [[nodiscard]] S nan(int lane) const { return nan_[lane]; }

  /// The length of each sample's row.
  void sizes(std::span<std::int32_t> sizes) const {
    for (int lane = 0; lane < count_; ++lane) sizes[std::size_t(sample_[lane])] = size_[lane];
  }

  /// Where the entry of a leaf is.
  [[nodiscard]] std::size_t place(const Leaf& leaf, const Routing<S>& routing) const {
    return std::size_t(routing.offsets()[std::size_t(sample_[leaf.lane])]) +
           std::size_t(leaf.entry);
  }

  /// Writes the rows to where `routing` has room for them.
  /// \param add  add(weight, leaf) starts an entry's weight or adds to it
  template <class Add>
  void fill(Routing<S>& routing, Add add) const {
    for (const Leaf& leaf : leaves_) {
      if (leaf.entry < 0) continue;
      const std::size_t entry = place(leaf, routing);
      if (leaf.starts_entry) routing.experts()[entry] = leaf.label;
      add(routing.weights()[entry], leaf);
    }
  }

  /// \brief The backward pass, from the last node to the first.
  /// \param cuts      as the source's
  /// \param by_leaf   by_leaf(i), the derivative by the reach of leaf record i
  /// \param by_split  by_split(node, i, left, right): the derivatives by the reach of the children
  /// of split record i
  template <class Cuts, class ByLeaf, class BySplit>
  void ascend(Index trees, Cuts cuts, ByLeaf by_leaf, BySplit by_split) {
    // by_reach_ holds the derivative by a node's reach: one slot for left and one for right
    // children per level, since a node is left before its sibling's subtree is entered.
    by_reach_.resize(2 * lists_.size() * lanes);
    const auto slots = [&](Index level, Index node) {
      const Index side = node % 2;  // in heap numbering left children are odd
      return by_reach_.data() + (level * 2 + side) * trees * lanes;
    };
    for (auto visit = visits_.rbegin(); visit != visits_.rend(); ++visit) {
      const Index level = visit->level;
      const Index node = visit->node;
      S* const here = slots(level, node);
      if (visit->is_leaf) {
        for (auto i = visit->begin; i < visit->end; ++i) {
          const Leaf& leaf = leaves_[i];
          here[leaf.tree * lanes + leaf.lane] = by_leaf(i);
        }
        continue;
      }
      const Index child = 2 * node + 1;
      const S* const left_child = cuts(child, level + 1) ? nullptr : slots(level + 1, child);
      const S* const right_child =
          cuts(child + 1, level + 1) ? nullptr : slots(level + 1, child + 1);
      for (auto i = visit->begin; i < visit->end; ++i) {
        const Split& split = splits_[i];
        const Index place = split.tree * lanes + split.lane;
        const S left_reach = split.reach * split.left;
        const S right_reach = split.reach * split.right;
        const S left = left_reach > S(0) && left_child != nullptr ? left_child[place] : S(0);
        const S right = right_reach > S(0) && right_child != nullptr ? right_child[place] : S(0);
        here[place] = split.left * left + split.right * right;
        by_split(node, i, left, right);
      }
    }
  }

 private:
  /// What the walk sees: it asks the source and keeps records.
  template <class Source>
  struct Walker {
    SoftTreeTile& tile;
    Source& source;

    [[nodiscard]] Index trees() const { return source.trees(); }
    [[nodiscard]] const portable::TreeShape& shape() const { return tile.shape_; }
    [[nodiscard]] bool cuts(Index node, Index level) const { return source.cuts(node, level); }

    void split(Index node, Index level, List* at) {
      const std::size_t begin = tile.splits_.size();
      for (Index tree = 0; tree < trees(); ++tree) {
        List& list = at[tree];
        source.split(node, level, tree, list, tile.logits_);
        for (std::int32_t i = 0; i < list.count; ++i)
          if (std::isnan(list.left[i])) [[unlikely]]
            tile.nan_[list.lane[i]] = list.left[i];
        if (tile.purpose_ == Purpose::inference) continue;
        for (std::int32_t i = 0; i < list.count; ++i)
          tile.splits_.push_back({std::int32_t(tree), list.lane[i], tile.logits_[i], list.left[i],
                                  list.right[i], list.reach[i]});
      }
      tile.record(node, level, begin, tile.splits_.size(), false);
    }

    void leaf(Index node, Index level, const List* at) {
      const std::size_t begin = tile.leaves_.size();
      const Index number = tile.shape_.leaf(node);
      for (Index tree = 0; tree < trees(); ++tree) {
        const List& list = at[tree];
        const Index slot = number * trees() + tree;
        const auto label = ExpertId(tile.rows_ == Rows::slots ? slot : number);
        source.leaf(slot, tree, list, tile.logits_);
        for (std::int32_t i = 0; i < list.count; ++i)
          tile.push_leaf({std::int32_t(slot), label, std::int32_t(tree), list.lane[i], 0, false,
                          list.reach[i], tile.logits_[i]},
                         source.has_entry(list.reach[i], tile.logits_[i], tile.rows_));
      }
      tile.record(node, level, begin, tile.leaves_.size(), true);
    }
  };

  void record(Index node, Index level, std::size_t begin, std::size_t end, bool is_leaf) {
    if (purpose_ == Purpose::training)
      visits_.push_back({std::int32_t(node), std::int32_t(level), begin, end, is_leaf});
  }

  void push_leaf(Leaf leaf, bool has_entry) {
    leaf.entry = -1;
    if (has_entry) {
      leaf.starts_entry = leaf.label != last_[leaf.lane];
      last_[leaf.lane] = leaf.label;
      size_[leaf.lane] += leaf.starts_entry;
      leaf.entry = size_[leaf.lane] - 1;
    }
    leaves_.push_back(leaf);
  }

  Index first_ = 0;
  int count_ = 0;
  std::int32_t sample_[lanes];
  portable::TreeShape shape_{1};
  Purpose purpose_ = Purpose::inference;
  Rows rows_ = Rows::experts;
  std::vector<List> lists_;  // level x tree: of the path that is open now
  std::vector<S> by_reach_;  // level x side x tree x lane
  std::vector<Split> splits_;
  std::vector<Leaf> leaves_;
  std::vector<Visit> visits_;
  S logits_[lanes] = {};
  S nan_[lanes];
  ExpertId last_[lanes];      // the label of the last entry
  std::int32_t size_[lanes];  // entries so far
};

/// \brief The tiles of a batch, and what soft-tree gates do around them.
/// \tparam Tile  is a SoftTreeTile or holds one: walk()
template <class S, class Tile>
class SoftTreeBatch {
 public:
  /// Takes a batch; what was there is gone, also if this throws.
  void start(std::string_view where, const Samples<S>& samples, Index input_dim) {
    forward_.clear();
    samples.validate(where, input_dim);
    live_.assign(samples);
    sizes_.assign(std::size_t(samples.size()), 0);
    if (Index(tiles_.size()) < size()) tiles_.resize(std::size_t(size()));
    for (Index t = 0; t < size(); ++t) (*this)[t].walk().assign(live_, t * samples_per_tile);
  }
  /// Calls descend(tile) for every tile and makes the rows: `add` as in SoftTreeTile::fill().
  template <class Descend, class Add>
  void run(Routing<S>& routing, ThreadPool* pool, Descend descend, Add add) {
    parallel_for(pool, size(), [&](Index t, Index) {
      descend((*this)[t]);
      (*this)[t].walk().sizes(sizes_);
    });
    routing.resize(sizes_);
    for (Index t = 0; t < size(); ++t) (*this)[t].walk().fill(routing, add);
  }
  /// Calls f(slot, reach) for every leaf that a sample reaches, always in the same order.
  template <class F>
  void for_each_leaf(F f) {
    for (Index t = 0; t < size(); ++t)
      for (const auto& leaf : (*this)[t].walk().leaves()) f(Index(leaf.slot), leaf.reach);
  }
  /// From now on backward() of this gate may follow.
  void keep(const Identity& gate, const Samples<S>& samples, const Routing<S>& routing) {
    forward_.set(gate, samples, routing);
  }

  /// The forward() that backward() may follow.
  [[nodiscard]] const GateForward& forward() const { return forward_; }
  /// Those that are no padding.
  [[nodiscard]] const LiveSamples& live() const { return live_; }
  /// Number of tiles.
  [[nodiscard]] Index size() const { return num_tiles(live_.size()); }
  [[nodiscard]] Tile& operator[](Index t) { return tiles_[std::size_t(t)]; }

 private:
  LiveSamples live_;
  std::vector<Tile> tiles_;
  std::vector<std::int32_t> sizes_;  // entries of each sample
  GateForward forward_;
};

}  // namespace comet::detail
