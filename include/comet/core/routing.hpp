// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief What a gate decides: for every sample a list of (expert, weight) of any length.
///
/// Sample b owns the entries offsets()[b] .. offsets()[b+1]-1. Within a sample the experts ascend
/// strictly, so that sums over experts have one order whoever computes them. A row may be empty.
/// Storage is kept across batches: filling a routing again allocates only when it grows.
template <class S>
class Routing {
 public:
  using Scalar = S;  ///< float or double.

  Routing() = default;

  /// \brief Starts anew for samples that will be appended with push() and end_sample().
  void clear() {
    offsets_.assign(1, 0);
    experts_.clear();
    weights_.clear();
  }

  /// Appends an entry to the sample at hand; experts have to ascend.
  void push(ExpertId expert, S weight) {
    experts_.push_back(expert);
    weights_.push_back(weight);
  }

  /// Ends the row of the sample at hand.
  void end_sample() { offsets_.push_back(Index(experts_.size())); }

  /// \brief Sizes the routing for gates that fill it in parallel: offsets first, then entries.
  /// \param sizes  per sample, the number of its entries
  /// \throws std::invalid_argument if one is negative; the routing is empty then
  template <class Sizes>
  void resize(const Sizes& sizes) {
    offsets_.resize(std::size(sizes) + 1);
    Index total = 0;
    std::size_t b = 0;
    for (const auto size : sizes) {
      if (Index(size) < 0) [[unlikely]] {
        clear();
        detail::check_at_least("Routing::resize", "sizes[" + std::to_string(b) + "]", Index(size),
                               0);
      }
      offsets_[b++] = total;
      total += Index(size);
    }
    offsets_[b] = total;
    experts_.resize(std::size_t(total));
    weights_.resize(std::size_t(total));
  }

  /// Number of samples B.
  [[nodiscard]] Index num_samples() const noexcept { return Index(offsets_.size()) - 1; }
  /// Number of entries of all samples.
  [[nodiscard]] Index num_entries() const noexcept { return Index(experts_.size()); }

  /// Where the entries of each sample begin: B + 1 numbers.
  [[nodiscard]] std::span<const Index> offsets() const noexcept { return offsets_; }
  /// Experts of all entries, sample by sample.
  [[nodiscard]] std::span<const ExpertId> experts() const noexcept { return experts_; }
  /// Weights of all entries, in the order of experts().
  [[nodiscard]] std::span<const S> weights() const noexcept { return weights_; }
  /// Experts of all entries, sample by sample.
  [[nodiscard]] std::span<ExpertId> experts() noexcept { return experts_; }
  /// Weights of all entries, in the order of experts().
  [[nodiscard]] std::span<S> weights() noexcept { return weights_; }

  /// Experts of one sample, ascending.
  [[nodiscard]] std::span<const ExpertId> experts(Index sample) const {
    return experts().subspan(begin(sample), size(sample));
  }
  /// Weights of one sample, in the order of its experts.
  [[nodiscard]] std::span<const S> weights(Index sample) const {
    return weights().subspan(begin(sample), size(sample));
  }

  /// \brief The same routing as an n x B matrix, for tests and small n.
  /// \throws std::invalid_argument if n is negative, or an expert is not below n
  [[nodiscard]] Matrix<S> dense(Index num_experts) const {
    detail::check_at_least("Routing::dense", "num_experts", num_experts, 0);
    Matrix<S> result = Matrix<S>::Zero(num_experts, num_samples());
    for (Index b = 0; b < num_samples(); ++b)
      for (Index i = offsets_[std::size_t(b)]; i < offsets_[std::size_t(b) + 1]; ++i) {
        const ExpertId expert = experts_[std::size_t(i)];
        detail::check_index("Routing::dense", "an expert", expert, "num_experts", num_experts);
        result(expert, b) = weights_[std::size_t(i)];
      }
    return result;
  }

  /// \brief Checks the invariants above against n experts and B samples.
  /// \throws std::invalid_argument naming `where` and the first entry that breaks them
  void validate(std::string_view where, Index num_experts, Index num_samples) const {
    detail::check_equal(where, "routing.num_samples()", this->num_samples(), "x.cols()",
                        num_samples);
    for (Index b = 0; b < num_samples; ++b)
      detail::check_ascending(where, experts(b), "num_experts", num_experts,
                              [b] { return "an expert of routing sample " + std::to_string(b); });
  }

 private:
  [[nodiscard]] std::size_t begin(Index sample) const {
    return std::size_t(offsets_[std::size_t(sample)]);
  }
  [[nodiscard]] std::size_t size(Index sample) const {
    return std::size_t(offsets_[std::size_t(sample) + 1] - offsets_[std::size_t(sample)]);
  }

  std::vector<Index> offsets_ = {0};  // B + 1
  std::vector<ExpertId> experts_;     // entries, sample by sample
  AlignedVector<S> weights_;          // entries, same order
};

namespace detail {

/// What gates around others ask of the rows inside, whose experts they look up in a table of n.
template <class S>
void check_experts(std::string_view where, const Routing<S>& routing, Index num_experts) {
  for (Index b = 0; b < routing.num_samples(); ++b)
    for (const ExpertId expert : routing.experts(b))
      if (expert < 0 || expert >= num_experts) [[unlikely]]
        check_index(where, "an expert of routing sample " + std::to_string(b), expert,
                    "num_experts", num_experts);
}

/// What takes weights for shares asks of them.
template <class S>
void check_weights(std::string_view where, const Routing<S>& routing) {
  for (const S weight : routing.weights())
    if (!(weight >= S(0) && std::isfinite(weight))) [[unlikely]]
      raise(where, "a weight", weight, "finite and at least 0");
}

}  // namespace detail

/// \brief A row in the making: the one place where weights of slots become weights of experts.
///
/// A slot is what a gate speaks of by itself: a leaf, a code, a logit, perhaps of one tree or
/// selector out of several. Labels tell whose weight it is. Slots come in any order; the row's
/// experts ascend, and weights of the same expert are added in the order in which they came.
///
/// \par Cost  O(entries log entries) per row, no allocation once sizes have been seen
template <class S>
class RowBuilder {
 public:
  /// Starts the row of a sample.
  void clear() {
    keys_.clear();
    weights_.clear();
  }

  /// Adds to an expert's weight.
  void add(ExpertId expert, S weight) {
    // An expert above the place: sorts as a pair would, in one comparison.
    keys_.push_back((std::uint64_t(expert) << 32) | std::uint64_t(weights_.size()));
    weights_.push_back(weight);
  }

  /// Number of weights that were added.
  [[nodiscard]] Index size() const noexcept { return Index(weights_.size()); }

  /// Ends the row: appends it to a routing.
  void end(Routing<S>& routing) {
    end(routing, [](Index, Index) {});
  }
  /// \brief The same.
  /// \param placed  callable with (i, entry): the i-th weight that was added is part of that entry
  ///                of the routing
  template <class Placed>
  void end(Routing<S>& routing, Placed placed) {
    std::sort(keys_.begin(), keys_.end());
    ExpertId last = -1;
    for (const std::uint64_t key : keys_) {
      const auto expert = ExpertId(key >> 32);
      const auto i = std::size_t(key & 0xffffffffU);
      if (expert == last) {
        routing.weights().back() += weights_[i];
      } else {
        routing.push(expert, weights_[i]);
        last = expert;
      }
      placed(Index(i), routing.num_entries() - 1);
    }
    routing.end_sample();
  }

 private:
  std::vector<std::uint64_t> keys_;
  std::vector<S> weights_;
};

}  // namespace comet
