// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief The expert-major view of one or more routings of the same batch.
///
/// Every (expert, sample) pair to which at least one task gives a non-zero weight gets one column;
/// the columns of an expert are contiguous, in the order of its samples. A pair that several tasks
/// use is there once, so that it is evaluated once. Entries of weight 0 get no column.
///
/// The number of columns reserved for an expert is rounded up to `column_multiple`; the columns in
/// excess are padding, which belongs to no sample.
///
/// A plan is made from routings or, where others have routed, from their pairs alone.
///
/// \par Cost  O(B T + entries + n): a counting sort (histogram, scan, scatter).
class DispatchPlan {
 public:
  /// Of a pair that is not evaluated.
  static constexpr std::int32_t no_column = -1;

  /// \brief Stage 1: groups the pairs of a batch by expert.
  /// \param routings         one per task, all of the same samples
  /// \param num_experts      n
  /// \param column_multiple  >= 1; the experts say, see ExpertBank::column_multiple()
  /// \throws std::invalid_argument naming the first entry that is not in 0..n-1 or out of order, or
  ///         if there would be 2^31 columns or more
  template <class S>
  void build(std::span<const Routing<S>> routings, Index num_experts, Index column_multiple = 1) {
    constexpr const char* where = "DispatchPlan::build";
    detail::check_at_least(where, "routings.size()", Index(routings.size()), 1);
    detail::check_at_least(where, "num_experts", num_experts, 1);
    check_multiple(where, column_multiple);
    for (const auto& routing : routings)
      routing.validate(where, num_experts, routings.front().num_samples());
    num_samples_ = routings.front().num_samples();
    entry_columns_.resize(routings.size());
    for (std::size_t t = 0; t < routings.size(); ++t)
      entry_columns_[t].resize(std::size_t(routings[t].num_entries()));
    count_pairs(routings, num_experts);
    place_columns(column_multiple);
    scatter_pairs(routings, num_experts);
  }
  /// \brief The same for one task.
  template <class S>
  void build(const Routing<S>& routing, Index num_experts, Index column_multiple = 1) {
    build(std::span(&routing, 1), num_experts, column_multiple);
  }

  /// \brief Stage 1 for pairs that others have routed: a plan of no task, which runs experts,
  /// gathers and gathers back, and leaves the combining to them.
  /// \param counts           n: pairs of each expert
  /// \param samples          of all pairs, expert by expert, ascending within one
  /// \param num_samples      B
  /// \param column_multiple  >= 1, as above
  /// \throws std::invalid_argument naming the first sample that is not in 0..B-1 or out of order, or
  ///         if there would be 2^31 columns or more
  void build(std::span<const Index> counts, std::span<const SampleId> samples, Index num_samples,
             Index column_multiple = 1) {
    constexpr const char* where = "DispatchPlan::build";
    detail::check_at_least(where, "num_samples", num_samples, 0);
    check_multiple(where, column_multiple);
    check_pairs(where, counts, samples, num_samples);
    counts_.assign(counts.begin(), counts.end());
    num_samples_ = num_samples;
    entry_columns_.clear();
    place_columns(column_multiple);
    scatter_samples(samples);
  }

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const { return Index(counts_.size()); }
  /// Number of routings T.
  [[nodiscard]] Index num_tasks() const { return Index(entry_columns_.size()); }
  /// Number of samples B.
  [[nodiscard]] Index num_samples() const { return num_samples_; }
  /// Number of (expert, sample) pairs that are evaluated.
  [[nodiscard]] Index num_pairs() const { return Index(sample_columns_.size()); }
  /// Columns including padding.
  [[nodiscard]] Index num_columns() const { return first_column_.back(); }
  /// Where the columns of an expert begin.
  [[nodiscard]] Index first_column(Index expert) const {
    return first_column_[std::size_t(expert)];
  }
  /// Number of samples of an expert.
  [[nodiscard]] Index count(Index expert) const { return counts_[std::size_t(expert)]; }
  /// Columns of an expert including padding.
  [[nodiscard]] Index padded_count(Index expert) const {
    return first_column(expert + 1) - first_column(expert);
  }
  /// Whether an expert has a column of every sample.
  [[nodiscard]] bool serves_all(Index expert) const { return count(expert) == num_samples_; }
  /// The sample of every column, -1 for padding.
  [[nodiscard]] std::span<const SampleId> column_samples() const { return column_samples_; }
  /// Samples of an expert, ascending; column first_column(expert) + i belongs to the i-th.
  [[nodiscard]] std::span<const SampleId> samples(Index expert) const {
    return std::span(column_samples_)
        .subspan(std::size_t(first_column(expert)), std::size_t(count(expert)));
  }
  /// Those of its columns first .. first + width - 1: of padding there are none.
  [[nodiscard]] std::span<const SampleId> samples(Index expert, Index first, Index width) const {
    const auto all = samples(expert);
    const Index begin = std::min(first, Index(all.size()));
    return all.subspan(std::size_t(begin),
                       std::size_t(std::min(first + width, Index(all.size())) - begin));
  }
  /// Columns of a sample, in ascending order of the expert.
  [[nodiscard]] std::span<const std::int32_t> columns(Index sample) const {
    const auto begin = std::size_t(sample_begin_[std::size_t(sample)]);
    const auto end = std::size_t(sample_begin_[std::size_t(sample) + 1]);
    return std::span(sample_columns_).subspan(begin, end - begin);
  }
  /// The expert of a column, padding included. \par Cost  O(log n)
  [[nodiscard]] Index expert(Index column) const {
    return std::upper_bound(first_column_.begin(), first_column_.end(), column) -
           first_column_.begin() - 1;
  }
  /// Column of every entry of a task's routing; no_column where the weight is 0.
  [[nodiscard]] std::span<const std::int32_t> entry_columns(Index task) const {
    return entry_columns_[std::size_t(task)];
  }

 private:
  static constexpr Index most_columns = std::numeric_limits<std::int32_t>::max();

  static void check_multiple(const char* where, Index column_multiple) {
    detail::check_at_least(where, "column_multiple", column_multiple, 1);
    detail::check_at_most(where, "column_multiple", column_multiple, "the largest int32",
                          most_columns);
  }
  void place_columns(Index column_multiple) {
    first_column_.resize(counts_.size() + 1);
    Index columns = 0;
    for (std::size_t e = 0; e < counts_.size(); ++e) {
      first_column_[e] = columns;
      if (column_multiple == 1) {
        columns += counts_[e];  // spares a division that would be the cost of a sample's plan
      } else {
        columns += (Index(counts_[e]) + column_multiple - 1) / column_multiple * column_multiple;
      }
    }
    first_column_.back() = columns;
    if (columns <= most_columns) [[likely]]
      return;
    *this = DispatchPlan();  // beyond that columns have no numbers
    detail::check_at_most("DispatchPlan::build", "num_columns()", columns, "the largest int32",
                          most_columns);
  }

  static void check_pairs(const char* where, std::span<const Index> counts,
                          std::span<const SampleId> samples, Index num_samples) {
    Index pairs = 0;
    for (const Index count : counts) {
      detail::check_at_least(where, "a count of pairs", count, 0);
      detail::check_at_most(where, "a count of pairs", count, "num_samples", num_samples);
      pairs += count;
    }
    detail::check_equal(where, "samples.size()", Index(samples.size()), "sum of the counts", pairs);
    std::size_t pair = 0;
    for (std::size_t e = 0; e < counts.size(); ++e) {
      detail::check_ascending(where, samples.subspan(pair, std::size_t(counts[e])), "num_samples",
                              num_samples,
                              [e] { return "a sample of expert " + std::to_string(e); });
      pair += std::size_t(counts[e]);
    }
  }

  // The columns' samples are given; a second counting sort gives the samples' columns.
  void scatter_samples(std::span<const SampleId> samples) {
    column_samples_.assign(std::size_t(num_columns()), SampleId(-1));
    sample_begin_.assign(std::size_t(num_samples_) + 1, 0);
    const auto for_each_pair = [&](auto f) {
      std::size_t pair = 0;
      for (Index e = 0; e < num_experts(); ++e)
        for (Index i = 0; i < count(e); ++i) f(e, i, samples[pair++]);
    };
    for_each_pair([&](Index e, Index i, SampleId sample) {
      column_samples_[std::size_t(first_column(e) + i)] = sample;
      ++sample_begin_[std::size_t(sample) + 1];
    });
    for (std::size_t b = 1; b < sample_begin_.size(); ++b) sample_begin_[b] += sample_begin_[b - 1];
    cursor_.assign(sample_begin_.begin(), sample_begin_.end() - 1);
    sample_columns_.resize(samples.size());
    for_each_pair([&](Index e, Index i, SampleId sample) {
      sample_columns_[std::size_t(cursor_[std::size_t(sample)]++)] =
          std::int32_t(first_column(e) + i);
    });
  }

  template <class S>
  void count_pairs(std::span<const Routing<S>> routings, Index num_experts) {
    counts_.assign(std::size_t(num_experts), 0);
    last_sample_.assign(std::size_t(num_experts), -1);
    sample_begin_.resize(std::size_t(num_samples_) + 1);
    Index pairs = 0;
    for (Index b = 0; b < num_samples_; ++b) {
      sample_begin_[std::size_t(b)] = std::int32_t(pairs);
      for (const auto& routing : routings) {
        const auto experts = routing.experts(b);
        const auto weights = routing.weights(b);
        for (std::size_t i = 0; i < experts.size(); ++i) {
          const auto e = std::size_t(experts[i]);
          if (weights[i] == S(0) || last_sample_[e] == SampleId(b)) continue;
          last_sample_[e] = SampleId(b);
          ++counts_[e];
          ++pairs;
        }
      }
    }
    sample_begin_.back() = std::int32_t(pairs);
    sample_columns_.resize(std::size_t(pairs));
  }

  // Merges the tasks' ascending lists sample by sample, so that a sample's columns come out in the
  // order of the experts.
  template <class S>
  void scatter_pairs(std::span<const Routing<S>> routings, Index num_experts) {
    column_samples_.assign(std::size_t(num_columns()), SampleId(-1));
    cursor_.assign(first_column_.begin(), first_column_.end() - 1);
    heads_.assign(routings.size(), 0);
    std::size_t pair = 0;
    for (Index b = 0; b < num_samples_; ++b) {
      for (;;) {
        ExpertId expert = ExpertId(num_experts);
        for (std::size_t t = 0; t < routings.size(); ++t) {
          const auto end = routings[t].offsets()[std::size_t(b) + 1];
          // Entries of weight 0 are passed over here, once, whichever task has them.
          while (heads_[t] < end && routings[t].weights()[std::size_t(heads_[t])] == S(0))
            entry_columns_[t][std::size_t(heads_[t]++)] = no_column;
          if (heads_[t] < end)
            expert = std::min(expert, routings[t].experts()[std::size_t(heads_[t])]);
        }
        if (expert == ExpertId(num_experts)) break;
        const auto column = std::int32_t(cursor_[std::size_t(expert)]++);
        column_samples_[std::size_t(column)] = SampleId(b);
        sample_columns_[pair++] = column;
        for (std::size_t t = 0; t < routings.size(); ++t) {
          const auto end = routings[t].offsets()[std::size_t(b) + 1];
          if (heads_[t] < end && routings[t].experts()[std::size_t(heads_[t])] == expert)
            entry_columns_[t][std::size_t(heads_[t]++)] = column;
        }
      }
    }
  }

  Index num_samples_ = 0;
  std::vector<std::int32_t> counts_;                      // n
  std::vector<Index> first_column_ = {0};                 // n + 1
  std::vector<SampleId> column_samples_;                  // columns, -1 for padding
  std::vector<std::int32_t> sample_begin_;                // B + 1
  std::vector<std::int32_t> sample_columns_;              // pairs, sample by sample
  std::vector<std::vector<std::int32_t>> entry_columns_;  // per task, one per entry
  std::vector<SampleId> last_sample_;                     // n, scratch
  std::vector<Index> cursor_;                             // n or B, scratch
  std::vector<Index> heads_;                              // T, scratch
};

}  // namespace comet
