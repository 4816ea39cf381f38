// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/dots.hpp>

namespace comet::detail {

/// \brief A bank of affine functions h(x) = w_h . x + c_h: what every gate in this library learns.
///
/// One hyperplane per column, so that evaluating a few of them touches only their memory.
template <class S>
class Hyperplanes {
 public:
  enum class Offsets { trained, none };

  Hyperplanes(Index input_dim, Index count, Offsets offsets = Offsets::trained)
      : weight_(input_dim, count), bias_(offsets == Offsets::trained ? count : 0, 1) {}

  /// Weights and biases uniform in +-bound.
  void initialize(double bound, RandomKey key) {
    key.fold(0).fill_uniform(weight_.values, -bound, bound);
    key.fold(1).fill_uniform(bias_.values, -bound, bound);
  }

  [[nodiscard]] Index input_dim() const { return weight_.values.rows(); }
  [[nodiscard]] Index size() const { return weight_.values.cols(); }
  [[nodiscard]] const Matrix<S>& weight() const { return weight_.values; }  // d x H
  [[nodiscard]] const Matrix<S>& bias() const { return bias_.values; }      // H x 1

  /// The same functions in another order: h-th becomes p(h)-th. Gradients are 0.
  [[nodiscard]] Hyperplanes permuted(const Permutation& p) const {
    Hyperplanes result(input_dim(), size(), has_bias() ? Offsets::trained : Offsets::none);
    for (Index h = 0; h < size(); ++h) {
      result.weight_.values.col(p[h]) = weight_.values.col(h);
      if (has_bias()) result.bias_.values(p[h], 0) = bias_.values(h, 0);
    }
    return result;
  }

  /// out[i * out_stride] = w_h . x[i] + c_h; the same bits for any count.
  void logits(Index h, const S* const* x, Index count, S* out, Index out_stride = 1) const {
    dots(column(h), input_dim(), x, count, has_bias() ? bias_.values(h, 0) : S(0), out, out_stride);
  }

  [[nodiscard]] bool has_bias() const { return bias_.values.size() > 0; }
  [[nodiscard]] const S* column(Index h) const { return weight_.values.col(h).data(); }

  template <class F>
  void visit(const char* group, F&& f) {
    const ParameterName weight("weight"), bias("bias");
    weight_.visit(ParameterName(group, weight), f);
    if (has_bias()) bias_.visit(ParameterName(group, bias), f);
  }
  template <class F>
  void visit(F&& f) {
    weight_.visit("weight", f);
    if (has_bias()) bias_.visit("bias", f);
  }

  S* weight_gradient(Index h) { return weight_.gradients.col(h).data(); }
  S& bias_gradient(Index h) { return bias_.gradients(h, 0); }

 private:
  Parameter<S> weight_;  // d x H
  Parameter<S> bias_;    // H x 1
};

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

  /// Adds to the gradients of the hyperplanes and, unless dx is empty, to dx (d x B).
  void apply(Hyperplanes<S>& planes, const ConstMatrixView<S>& x, MatrixView<S> dx,
             ThreadPool* pool) {
    const Index d = planes.input_dim();
    group(planes.size(), [](const Entry& e) { return e.plane; });
    pool = worth_threads(pool, double(grouped_.size()) * double(d));
    parallel_for(pool, chunks(planes.size()), [&](Index chunk, Index) {
      for_groups(chunk, planes.size(), [&](Index plane, std::span<const Entry> entries) {
        if (planes.has_bias())
          for (const Entry& e : entries) planes.bias_gradient(plane) += e.value;
        add_all(planes.weight_gradient(plane), d, entries,
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

  std::vector<std::vector<Entry>> tiles_;
  Index num_tiles_ = 0;
  std::vector<Entry> grouped_;
  std::vector<std::size_t> begin_;   // groups + 1
  std::vector<std::size_t> cursor_;  // groups
};

/// Samples per task of a gate: enough to share the load of a hyperplane, few enough to stay in
/// cache.
inline constexpr Index samples_per_tile = 32;

inline Index num_tiles(Index num_samples) {
  return (num_samples + samples_per_tile - 1) / samples_per_tile;
}

}  // namespace comet::detail
