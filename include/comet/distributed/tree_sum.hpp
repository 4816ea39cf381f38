// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief Adds up the gradients of blocks of a batch in the order of a tree: (block 0 + block 1) +
/// (block 2 + block 3), and so on.
///
/// So a batch of 2^a blocks has the same bits whether one process adds them up or 2^b ranks do,
/// each 2^(a-b) neighbours, and reduce_gradients() the ranks in SumOrder::tree.
///
/// \code
///   TreeSum<float> sum;
///   for (Index block = 0; block < 8 / world.size(); ++block) {
///     ...                                               // forward and backward of its rows
///     sum.add(pass.gradients(model));
///   }
///   sum.add_to(pass.gradients(model));
///   reduce_gradients(world, model, pass.gradients(model), SumOrder::tree);
/// \endcode
/// \par Cost  two passes over the gradients a block; log2 of the blocks copies of them
/// \tparam S  float or double
template <class S>
class TreeSum {
 public:
  /// \brief Takes the gradients of the next block over: they are zero afterwards.
  /// \throws std::invalid_argument if they are of another size than those before
  void add(GradientView<S> gradients) {
    Index size = 0;
    for (Index i = 0; i < gradients.size(); ++i) size += gradients[i].size();
    if (num_blocks_ > 0)
      detail::check_equal("TreeSum::add", "number of gradients", size, "that of the blocks before",
                          Index(carry_.size()));
    carry_.resize(std::size_t(size));
    S* next = carry_.data();
    for (Index i = 0; i < gradients.size(); ++i) {
      auto tensor = gradients[i];
      next = std::copy_n(tensor.data(), tensor.size(), next);
      tensor.setZero();
    }
    // As a number is counted up: what is there below the lowest zero of num_blocks_ is carried.
    std::size_t level = 0;
    for (Index rest = num_blocks_; rest % 2 == 1; rest /= 2, ++level)
      for (std::size_t i = 0; i < carry_.size(); ++i) carry_[i] = levels_[level][i] + carry_[i];
    if (levels_.size() <= level) levels_.resize(level + 1);
    levels_[level].resize(carry_.size());
    std::swap(levels_[level], carry_);
    ++num_blocks_;
  }

  /// \brief gradients += the sum of all blocks. The next add() is that of another sum.
  /// \throws std::invalid_argument if the number of blocks is no power of two
  void add_to(GradientView<S> gradients) {
    constexpr const char* where = "TreeSum::add_to";
    if (num_blocks_ < 1 || (num_blocks_ & (num_blocks_ - 1)) != 0) [[unlikely]]
      detail::raise(where, "the number of blocks", num_blocks_, "a power of two");
    std::size_t level = 0;
    while ((num_blocks_ >> level) > 1) ++level;
    Index size = 0;
    for (Index i = 0; i < gradients.size(); ++i) size += gradients[i].size();
    detail::check_equal(where, "number of gradients", size, "that of the blocks",
                        Index(levels_[level].size()));
    const S* next = levels_[level].data();
    for (Index i = 0; i < gradients.size(); ++i) {
      auto tensor = gradients[i];
      for (Index j = 0; j < tensor.size(); ++j) tensor.data()[j] += *next++;
    }
    num_blocks_ = 0;
  }

 private:
  Index num_blocks_ = 0;
  std::vector<AlignedVector<S>> levels_;  // of 1, 2, 4, ... blocks
  AlignedVector<S> carry_;
};

}  // namespace comet
