// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/dots.hpp>

namespace comet::detail {

/// \brief Derivatives of a loss by the logits of hyperplanes, for the (hyperplane, sample) pairs
/// where they are not 0, and the gradients that follow from them.
///
/// \par Cost  O(H + B + pairs * d); sums run in the order of the pairs' tiles, whoever adds them
/// up.
template <class S>
class LogitGradients {
 public:
  struct Entry {
    std::int32_t plane;
    SampleId sample;
    S value;
  };

  /// One list per tile, so that tiles can be filled in parallel.
  void start(Index num_tiles) {
    if (Index(tiles_.size()) < num_tiles) tiles_.resize(std::size_t(num_tiles));
    num_tiles_ = num_tiles;
    for (auto& tile : tiles_) tile.clear();
  }

  void add(Index tile, Index plane, Index sample, S value) {
    if (value != S(0))
      tiles_[std::size_t(tile)].push_back({std::int32_t(plane), SampleId(sample), value});
  }

  /// Adds to the gradients of the hyperplanes (their weight and, where they have one, their bias)
  /// and, unless dx is empty, to dx (d x B).
  void apply(const Hyperplanes<S>& planes, GradientView<S> gradients, const ConstMatrixView<S>& x,
             MatrixView<S> dx, ThreadPool* pool) {
    const Index d = planes.input_dim();
    group(planes.size(), [](const Entry& e) { return e.plane; });
    pool = worth_threads(pool, double(grouped_.size()) * double(d));
    parallel_for(pool, chunks(planes.size()), [&](Index chunk, Index) {
      for_groups(chunk, planes.size(), [&](Index plane, std::span<const Entry> entries) {
        if (planes.has_bias())
          add_in_runs<1>(Index(entries.size()), gradients[1].row(plane),
                         [&](auto& sum, Index i) { sum[0] += entries[std::size_t(i)].value; });
        add_all_in_runs(gradients[0].col(plane).data(), d, entries,
                        [&](const Entry& e) { return x.col(e.sample).data(); });
      });
    });
    if (dx.size() == 0) return;
    group(x.cols(), [](const Entry& e) { return e.sample; });
    parallel_for(pool, chunks(x.cols()), [&](Index chunk, Index) {
      for_groups(chunk, x.cols(), [&](Index sample, std::span<const Entry> entries) {
        add_all(dx.col(sample).data(), d, entries,
                [&](const Entry& e) { return planes.column(e.plane); });
      });
    });
  }

 private:
  static constexpr Index groups_per_chunk = 8;

  static Index chunks(Index num_groups) {
    return (num_groups + groups_per_chunk - 1) / groups_per_chunk;
  }

  /// Stable counting sort of all entries by key(entry) in 0..num_groups-1.
  template <class Key>
  void group(Index num_groups, Key key) {
    begin_.assign(std::size_t(num_groups) + 1, 0);
    std::size_t total = 0;
    for (Index t = 0; t < num_tiles_; ++t) {
      for (const Entry& e : tiles_[std::size_t(t)]) ++begin_[std::size_t(key(e)) + 1];
      total += tiles_[std::size_t(t)].size();
    }
    for (std::size_t g = 1; g < begin_.size(); ++g) begin_[g] += begin_[g - 1];
    grouped_.resize(total);
    cursor_.assign(begin_.begin(), begin_.end() - 1);
    for (Index t = 0; t < num_tiles_; ++t)
      for (const Entry& e : tiles_[std::size_t(t)]) grouped_[cursor_[std::size_t(key(e))]++] = e;
  }

  template <class F>
  void for_groups(Index chunk, Index num_groups, F f) const {
    const Index end = std::min((chunk + 1) * groups_per_chunk, num_groups);
    for (Index g = chunk * groups_per_chunk; g < end; ++g) {
      const std::size_t first = begin_[std::size_t(g)];
      const std::size_t last = begin_[std::size_t(g) + 1];
      if (first < last) f(g, std::span(grouped_).subspan(first, last - first));
    }
  }

  template <class Vector>
  static void add_all(S* sum, Index d, std::span<const Entry> entries, Vector vector) {
    S factors[dot_width];
    const S* vectors[dot_width];
    for (std::size_t first = 0; first < entries.size(); first += dot_width) {
      const Index count = std::min(dot_width, Index(entries.size() - first));
      for (Index i = 0; i < count; ++i) {
        factors[i] = entries[first + std::size_t(i)].value;
        vectors[i] = vector(entries[first + std::size_t(i)]);
      }
      add_scaled(sum, d, factors, vectors, count);
    }
  }

  /// The same; of more than a run of entries the sums of runs are added, as add_in_runs() does.
  template <class Vector>
  static void add_all_in_runs(S* sum, Index d, std::span<const Entry> entries, Vector vector) {
    constexpr auto run = std::size_t(run_length);
    constexpr Index rows_per_tile = 64;  // of a run's sum, on the stack
    add_all(sum, d, entries.first(std::min(run, entries.size())), vector);
    for (std::size_t first = run; first < entries.size(); first += run)
      for (Index row = 0; row < d; row += rows_per_tile) {
        const Index rows = std::min(rows_per_tile, d - row);
        S tile[std::size_t(rows_per_tile)] = {};
        add_all(tile, rows, entries.subspan(first, std::min(run, entries.size() - first)),
                [&](const Entry& e) { return vector(e) + row; });
        for (Index i = 0; i < rows; ++i) sum[row + i] += tile[i];
      }
  }

  std::vector<std::vector<Entry>> tiles_;
  Index num_tiles_ = 0;
  std::vector<Entry> grouped_;
  std::vector<std::size_t> begin_;   // groups + 1
  std::vector<std::size_t> cursor_;  // groups
};

}  // namespace comet::detail
