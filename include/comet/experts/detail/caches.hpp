// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/plan.hpp>

namespace comet::detail {

/// \brief Where experts leave what they need for their backward pass: for every column of theirs,
/// in training; for the block that a thread is at, where there is no backward pass.
template <class S>
class Caches {
 public:
  using Map = Eigen::Map<Matrix<S>>;

  /// A cache for every column. \param first  number of the first expert in the plan
  template <class E>
  void keep_all(const std::vector<E>& experts, const DispatchPlan& plan, Index first) {
    begin_.clear();
    Index total = 0;
    for (const E& expert : experts) {
      begin_.push_back(total);
      total += plan.padded_count(first + Index(begin_.size()) - 1) * expert.cache_dim();
    }
    values_.shape(1, total);
  }
  /// That the experts still want the caches that they have been given.
  template <class E>
  void check(const char* where, const std::vector<E>& experts, const DispatchPlan& plan,
             Index first) const {
    Index total = 0;
    for (Index e = 0; e < Index(experts.size()); ++e)
      total += plan.padded_count(first + e) * Index(experts[std::size_t(e)].cache_dim());
    check_equal(where, "caches of the experts, in numbers,", total, "those of the last forward()",
                values_.matrix().size());
  }
  /// The cache of columns first .. first + width - 1 of an expert, counted from the first.
  template <class E>
  [[nodiscard]] Map of_columns(const E& expert, Index number, Index first, Index width) {
    const Index rows = expert.cache_dim();
    return {values_.matrix().data() + begin_[std::size_t(number)] + first * rows, rows, width};
  }

  /// A cache for each worker, of as many columns as a block may have. Experts without columns are
  /// not looked at: with one sample, most are not in the processor's caches.
  template <class E>
  void share(const std::vector<E>& experts, const DispatchPlan& plan, Index first,
             Index most_columns, Index num_workers) {
    Index rows = 0;
    for (Index e = 0; e < Index(experts.size()); ++e)
      if (plan.padded_count(first + e) > 0)
        rows = std::max(rows, Index(experts[std::size_t(e)].cache_dim()));
    // Memory of any worker begins at the same place in a cache line, so that bits of an expert that
    // asks Eigen for sums do not depend on it.
    constexpr Index line = 64 / Index(sizeof(S));
    values_.shape((rows * most_columns + line - 1) / line * line, num_workers);
  }
  /// That of a worker.
  template <class E>
  [[nodiscard]] Map of_worker(const E& expert, Index worker, Index width) {
    auto all = values_.matrix();
    return {all.data() + worker * all.rows(), expert.cache_dim(), width};
  }

 private:
  std::vector<Index> begin_;  // per expert
  Buffer<S> values_;
};

}  // namespace comet::detail
