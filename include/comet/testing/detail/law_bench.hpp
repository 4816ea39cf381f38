// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/testing/gate_law_options.hpp>

namespace comet::detail {

/// Features, ids and a mask that may be changed before a gate sees them.
template <class S>
struct LawBatch {
  Matrix<S> x;
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> mask = {};

  LawBatch(Index input_dim, Index num_ids, Index num_samples, RandomKey key)
      : x(input_dim, num_samples) {
    key.fill_uniform(x, -1, 1);
    for (Index b = 0; b < num_samples; ++b)
      ids.push_back(std::int32_t(key.index(std::uint64_t(b), std::uint64_t(num_ids))));
  }

  [[nodiscard]] Index size() const { return x.cols(); }
  [[nodiscard]] Samples<S> all() const { return {x, ids, mask}; }
  [[nodiscard]] Samples<S> part(Index first, Index count) const {
    const auto from = std::size_t(first), size = std::size_t(count);
    return {x.middleCols(first, count), std::span(ids).subspan(from, size),
            mask.empty() ? std::span<const std::uint8_t>() : std::span(mask).subspan(from, size)};
  }
  /// The samples that are no padding, as a batch without a mask.
  [[nodiscard]] LawBatch compact() const {
    LawBatch result = *this;
    Index count = 0;
    for (Index b = 0; b < size(); ++b)
      if (all().is_live(b)) {
        result.x.col(count) = x.col(b);
        result.ids[std::size_t(count++)] = ids[std::size_t(b)];
      }
    result.x.conservativeResize(x.rows(), count);
    result.ids.resize(std::size_t(count));
    result.mask.clear();
    return result;
  }
};

/// A gate on the bench: the batch it is tried with, and what the laws on it have in common.
template <class G>
class LawBench {
 public:
  using S = typename G::Scalar;
  using Options = testing::GateLawOptions<G>;

  LawBench(const G& gate, const Options& options, std::vector<testing::BrokenLaw>& broken)
      : gate_(gate), options_(options), broken_(broken), batch_(batch(options.num_samples)) {}

 protected:
  static constexpr double tolerance = std::same_as<S, float> ? 1e-5 : 1e-12;

  /// The law is broken by what `holds` returns, unless that is empty, or by what it throws.
  template <class Check>
  void law(const char* name, Check holds) {
    std::string detail;
    try {
      detail = holds();
    } catch (const std::exception& error) {
      detail = std::string("throws ") + error.what();
    }
    if (!detail.empty()) broken_.push_back({name, detail});
  }

  [[nodiscard]] LawBatch<S> batch(Index num_samples) const {
    Index d = options_.input_dim;
    if constexpr (requires { Index(gate_.input_dim()); }) d = d > 0 ? d : Index(gate_.input_dim());
    Index num_ids = options_.num_ids;
    if constexpr (requires { Index(gate_.num_ids()); })
      num_ids = num_ids > 0 ? num_ids : Index(gate_.num_ids());
    return {std::max(Index(1), d), num_ids > 0 ? num_ids : 1000, num_samples,
            RandomKey(options_.seed)};
  }

  /// For the laws on threads.
  [[nodiscard]] LawBatch<S> many() const {
    return batch(options_.any_size ? options_.num_threaded_samples : options_.num_samples);
  }

  [[nodiscard]] Routing<S> route(const G& gate, const Samples<S>& samples,
                                 ThreadPool* pool = nullptr) const {
    Pass<G> pass(gate, pool);
    Routing<S> routing;
    gate.route(samples, routing, pass);
    return routing;
  }

  static bool same_bits(std::span<const S> a, std::span<const S> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
  }
  static bool same_bits(const Matrix<S>& a, const Matrix<S>& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() &&
           same_bits(std::span(a.data(), std::size_t(a.size())),
                     std::span(b.data(), std::size_t(b.size())));
  }
  static bool same_bits(const Routing<S>& a, const Routing<S>& b) {
    return std::ranges::equal(a.offsets(), b.offsets()) &&
           std::ranges::equal(a.experts(), b.experts()) && same_bits(a.weights(), b.weights());
  }
  static bool same_row(const Routing<S>& a, Index i, const Routing<S>& b, Index j) {
    return std::ranges::equal(a.experts(i), b.experts(j)) && same_bits(a.weights(i), b.weights(j));
  }

  static std::string at(Index sample) { return " of sample " + std::to_string(sample); }

  [[nodiscard]] std::string allocations_since(long before) const {
    const long count = options_.count_allocations() - before;
    return count == 0 ? "" : std::to_string(count) + " allocations in the second call";
  }

  /// Empty if the call throws an Error whose text contains `words`.
  template <class Error, class Call>
  static std::string refused(const std::string& what, const std::string& words, Call call) {
    try {
      call();
    } catch (const Error& error) {
      return std::string(error.what()).find(words) != std::string::npos
                 ? ""
                 : what + " is refused without the words '" + words + "': " + error.what();
    }
    return what + " is not refused";
  }

  const G& gate_;
  const Options& options_;
  std::vector<testing::BrokenLaw>& broken_;
  LawBatch<S> batch_;
};

}  // namespace comet::detail
