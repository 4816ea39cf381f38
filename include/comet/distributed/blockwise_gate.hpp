// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/rank_sum.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/tree_sum.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet {

namespace detail {

/// The sums that a gate asks for in forward(), over the blocks of its batch: one after the other,
/// since what it asks for next may depend on what it was told before.
class BlockSums {
 public:
  /// Nothing is known of a new batch.
  void start() { num_known_ = 0; }
  /// For the forward() of the next block: tells what is known, and hears the block's numbers of the
  /// first sum that is not.
  [[nodiscard]] RankSum of_next_block() {
    call_ = 0;
    return {this, [](void* context, std::span<double> sums) {
              static_cast<BlockSums*>(context)->take(sums);
            }};
  }
  /// \brief To be called when all blocks have run.
  /// \return false if none of them has asked for a sum that was not known; otherwise they have to
  ///         run again
  bool found_another(Index num_blocks, const RankSum& ranks) {
    if (of_blocks_.empty()) return false;
    const auto size = Index(of_blocks_.size()) / num_blocks;
    sum_vectors(of_blocks_.data(), num_blocks, size, SumOrder::tree);
    if (known_.size() <= num_known_) known_.resize(num_known_ + 1);
    auto& sum = known_[num_known_++];
    sum.assign(of_blocks_.begin(), of_blocks_.begin() + size);
    of_blocks_.clear();
    ranks(sum);
    return true;
  }

 private:
  void take(std::span<double> sums) {
    const std::size_t call = call_++;
    if (call < num_known_) std::ranges::copy(known_[call], sums.begin());
    if (call == num_known_) of_blocks_.insert(of_blocks_.end(), sums.begin(), sums.end());
  }

  std::vector<std::vector<double>> known_;  // per call of rank_sum, over all blocks and ranks
  std::size_t num_known_ = 0;
  std::size_t call_ = 0;           // of the block that runs
  std::vector<double> of_blocks_;  // of the call after those, one behind the other
};

}  // namespace detail

/// \brief A gate that trains on its batch block by block and adds the blocks' gradients up in a
/// tree: for the same bits on any number of ranks.
///
/// A batch of B samples in 8 blocks has the same gradients, to the bit, in one process
/// (`BlockwiseGate(gate, 8)`), on two ranks (`BlockwiseGate(gate, 4)` on each, B / 2 samples), on
/// four and on eight, if ranks are added in SumOrder::tree. Rows are those of the gate.
///
/// Penalties are those of the whole batch, of all ranks: what they are made of is summed over
/// blocks in the same tree. A gate asks for such a sum in the midst of its forward(), which each
/// block then runs once more with what has been found.
///
/// \par Cost     that of the gate, and two passes over its gradients a block; with penalties one
///               forward() more for each sum that they are made of: two or three
/// \par Threads  as the gate
/// \tparam G     a TrainableGate whose rows do not depend on their batch
/// \see DistributedMoeLayer, reduce_gradients, TreeSum
template <class G>
class BlockwiseGate {
  static_assert(TrainableGate<G>, "comet::BlockwiseGate: the gate has to train (TrainableGate)");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.

  /// \brief Scratch: that of the gate, for every block.
  class Workspace {
    friend class BlockwiseGate;

    std::vector<Pass<G>> passes_;       // per block
    std::vector<Routing<S>> routings_;  // likewise
    std::vector<std::int32_t> sizes_;   // of rows
    detail::BlockSums penalties_;
    Gradients<S> gradients_;  // of one block
    TreeSum<S> sum_;
    detail::GateForward forward_;  // that backward() may follow
  };

  /// \param num_blocks  a power of two
  /// \throws std::invalid_argument if it is not, or rows of the gate depend on their batch
  BlockwiseGate(G gate, Index num_blocks) : gate_(std::move(gate)), num_blocks_(num_blocks) {
    constexpr const char* where = "BlockwiseGate";
    if (num_blocks < 1 || (num_blocks & (num_blocks - 1)) != 0)
      detail::raise(where, "num_blocks", num_blocks, "a power of two");
    if (comet::depends_on_batch(gate_))
      detail::raise(where, "the rows of the gate depend on their batch");
  }

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const { return gate_.max_active(); }
  /// Number of blocks that a batch is cut into.
  [[nodiscard]] Index num_blocks() const noexcept { return num_blocks_; }
  /// The gate inside.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  /// The gate inside.
  [[nodiscard]] G& gate() noexcept { return gate_; }

  /// \brief As the gate does. \see RoutingGate
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<BlockwiseGate>& pass) const {
    pass.workspace.forward_.clear();
    pass.workspace.passes_.resize(std::size_t(num_blocks_));
    pass.workspace.passes_.front().run_in(pass);
    gate_.route(samples, routing, pass.workspace.passes_.front());
  }
  /// \brief As the gate does, block by block. \see TrainableGate
  /// \throws std::invalid_argument if the number of samples is no multiple of num_blocks()
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<BlockwiseGate>& pass) const {
    auto& ws = pass.workspace;
    ws.forward_.clear();
    if (samples.size() % num_blocks_ != 0) [[unlikely]]
      detail::raise("BlockwiseGate::forward", "x.cols()", samples.size(),
                    "a multiple of num_blocks = " + std::to_string(num_blocks_));
    ws.passes_.resize(std::size_t(num_blocks_));
    ws.routings_.resize(std::size_t(num_blocks_));
    ws.penalties_.start();
    do {
      for (std::size_t block = 0; block < ws.passes_.size(); ++block) {
        Pass<G>& inner = ws.passes_[block];
        inner.run_in(pass);
        inner.rank_sum = ws.penalties_.of_next_block();
        gate_.forward(piece(samples, Index(block)), ws.routings_[block], key, inner);
      }
    } while (ws.penalties_.found_another(num_blocks_, pass.rank_sum));
    ws.sizes_.clear();
    for (const Routing<S>& rows : ws.routings_)
      for (Index b = 0; b < rows.num_samples(); ++b)
        ws.sizes_.push_back(std::int32_t(rows.experts(b).size()));
    routing.resize(ws.sizes_);
    std::ptrdiff_t entry = 0;
    for (const Routing<S>& rows : ws.routings_) {
      std::ranges::copy(rows.experts(), routing.experts().begin() + entry);
      std::ranges::copy(rows.weights(), routing.weights().begin() + entry);
      entry += rows.num_entries();
    }
    ws.forward_.set(identity_, samples, routing);
  }
  /// \brief Adds the gradients of all blocks. \see TrainableGate
  ///
  /// If the gate throws midway, the pass's gradients are what they were, and the pass holds no
  /// forward() any more; dx has been added to by the blocks before, and perhaps by this one.
  /// \throws std::invalid_argument if the pass holds no forward() of this batch, or gradients of
  ///         another gate
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<BlockwiseGate>& pass) const {
    auto& ws = pass.workspace;
    samples.validate_backward("BlockwiseGate::backward", routing, dweights, dx, ws.forward_,
                              identity_);
    const GradientView<S> gradients = pass.gradients(*this);
    // Those of another gate, whose pass this was, would be written beyond their ends.
    if (!ws.gradients_.view().fits(*this)) ws.gradients_ = Gradients<S>(*this);
    try {
      add_blocks(samples, dweights, dx, pass);
    } catch (...) {  // what the blocks have left there is no part of another sum
      ws.sum_ = {};
      ws.gradients_ = {};
      ws.forward_.clear();
      throw;
    }
    ws.sum_.add_to(gradients);
  }
  /// The gate's penalty on the batch of all ranks in the last forward().
  [[nodiscard]] S regularization(const Pass<BlockwiseGate>& pass) const {
    const auto& passes = pass.workspace.passes_;
    return passes.empty() ? S(0) : S(gate_.regularization(passes.front()));
  }

  /// The gate's parameters.
  template <class F>
  void visit(F&& f) const {
    gate_.visit(f);
  }

 private:
  /// Runs the gate back block by block, into the workspace's sum.
  void add_blocks(const Samples<S>& samples, std::span<const S> dweights, MatrixView<S> dx,
                  Pass<BlockwiseGate>& pass) const {
    auto& ws = pass.workspace;
    const Index size = samples.size() / num_blocks_;
    std::size_t entry = 0;
    for (std::size_t block = 0; block < ws.passes_.size(); ++block) {
      const Routing<S>& rows = ws.routings_[block];
      const auto entries = std::size_t(rows.num_entries());
      Pass<G>& inner = ws.passes_[block];
      inner.borrow(ws.gradients_.view(), pass);
      const Samples<S> here = piece(samples, Index(block));
      if (dx.size() > 0) {
        gate_.backward(here, rows, dweights.subspan(entry, entries),
                       dx.middleCols(Index(block) * size, size), inner);
      } else {
        gate_.backward(here, rows, dweights.subspan(entry, entries), no_gradient, inner);
      }
      ws.sum_.add(ws.gradients_.view());
      entry += entries;
    }
  }

  [[nodiscard]] Samples<S> piece(const Samples<S>& samples, Index block) const {
    const Index size = samples.size() / num_blocks_, first = block * size;
    const auto cut = [&](auto all) {
      return all.empty() ? all : all.subspan(std::size_t(first), std::size_t(size));
    };
    Samples<S> result(samples.features.middleCols(first, size), cut(samples.ids),
                      cut(samples.mask));
    result.first = samples.first + first;
    return result;
  }

  G gate_;
  Index num_blocks_;
  detail::Identity identity_;
};

template <class G>
BlockwiseGate(G, Index) -> BlockwiseGate<G>;

}  // namespace comet
