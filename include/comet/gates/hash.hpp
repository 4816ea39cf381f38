// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of a HashGate, with defaults where there is a sensible one.
struct HashGateOptions {
  Index input_dim = 0;    ///< not used: the gate looks at ids alone
  Index num_experts = 0;  ///< n >= 1
  Index k = 1;            ///< not used: a sample has one expert
  Index num_ids = 0;      ///< ids are 0..num_ids-1; or 0: any id >= 0, and no table is kept
};

/// \brief Hash layer: a fixed table sends each id (user, item, token) to one expert, with weight 1.
///
///     g_i = 1 if i = table[id], else 0                        (Roller et al., NeurIPS 2021)
///
/// The table is drawn once, given, or balanced by frequency. It does not learn: the gate has no
/// parameters. Features are not looked at; ids come with them: `Samples{x, ids}`.
///
/// \par Cost     one look-up per sample
/// \par Threads  const throughout: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double, the scalar of the weights
/// \see CometGate, TopKGate, which learn where to send a sample
/// \see docs/math.md, equation (12)
template <class S>
class HashGate {
 public:
  using Scalar = S;                                 ///< float or double.
  using Options = HashGateOptions;                  ///< Settings of the constructor.
  static constexpr std::string_view name = "hash";  ///< What options and tables call it.

  /// \brief Nothing: the gate needs no scratch.
  class Workspace {};

  /// \brief A random table, each id's expert uniform and independent: key.index(id, n).
  /// \throws std::invalid_argument if an option is outside its bounds
  HashGate(HashGateOptions options, RandomKey key)
      : options_(validated(options)), key_(key), table_(std::size_t(options.num_ids)) {
    for (std::size_t id = 0; id < table_.size(); ++id) table_[id] = drawn(id);
  }

  /// \brief A given table. \param table  the expert of every id, not empty
  /// \throws std::invalid_argument naming the first id whose expert is out of range
  HashGate(std::vector<ExpertId> table, Index num_experts)
      : options_(of_table(Index(table.size()), num_experts)), table_(std::move(table)) {
    for (std::size_t id = 0; id < table_.size(); ++id)
      if (table_[id] < 0 || table_[id] >= num_experts) [[unlikely]]
        detail::raise("HashGate", "table[" + std::to_string(id) + "]", table_[id],
                      "in 0.." + std::to_string(num_experts - 1));
  }

  /// \brief A table that spreads the load: ids from the most to the least frequent, each to the
  /// expert with the least so far. Ties go to the smaller id and the smaller expert.
  /// \param frequencies  how often each id occurs, >= 0, not empty
  /// \throws std::invalid_argument naming the first frequency that is negative, or if their sum is
  ///         no 64-bit number
  /// \par Cost  O(ids (log ids + log n))
  [[nodiscard]] static HashGate balanced(std::span<const std::int64_t> frequencies,
                                         Index num_experts);

  /// Number of ids, or 0 for any.
  [[nodiscard]] Index num_ids() const noexcept { return options_.num_ids; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return 1; }
  /// The settings in use.
  [[nodiscard]] const HashGateOptions& options() const noexcept { return options_; }
  /// The expert of every id; empty if any id will do.
  [[nodiscard]] std::span<const ExpertId> table() const noexcept { return table_; }

  /// \brief Routes a batch. \param samples  an id each \param routing  resized here
  /// \throws std::invalid_argument if there are no ids, or naming the first that is out of range
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<HashGate>& /*pass*/) const {
    check_ids(samples);
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      if (samples.is_live(b)) routing.push(expert(samples.ids[std::size_t(b)], b), S(1));
      routing.end_sample();
    }
  }

  /// \brief A gate that routes as this one does, to the experts' new numbers.
  /// \param permutations  one, or none
  /// \throws std::invalid_argument if there are more, or it is not of num_experts() experts
  [[nodiscard]] HashGate freeze(std::span<const Permutation> permutations = {}) const {
    constexpr const char* where = "HashGate::freeze";
    HashGate result = *this;
    if (permutations.empty()) return result;
    detail::check_at_most(where, "permutations.size()", Index(permutations.size()), "one per gate",
                          1);
    const Permutation& p = permutations.front();
    detail::check_equal(where, "permutation.size()", p.size(), "num_experts", num_experts());
    for (ExpertId& expert : result.table_) expert = p[expert];
    if (table_.empty()) result.labels_ = labels_.size() == 0 ? p : compose(labels_, p);
    return result;
  }

 private:
  static HashGateOptions validated(const HashGateOptions& options) {
    detail::check_at_least("HashGate", "num_ids", options.num_ids, 0);
    detail::check_at_least("HashGate", "num_experts", options.num_experts, 1);
    detail::check_at_most("HashGate", "num_experts", options.num_experts, "the largest ExpertId",
                          std::numeric_limits<ExpertId>::max());
    return options;
  }
  static HashGateOptions of_table(Index num_ids, Index num_experts) {
    detail::check_at_least("HashGate", "num_ids", num_ids, 1);
    return validated({.num_experts = num_experts, .num_ids = num_ids});
  }

  void check_ids(const Samples<S>& samples) const {
    constexpr const char* where = "HashGate::route";
    if (samples.ids.empty() && samples.size() > 0) [[unlikely]]
      detail::raise(
          where, "samples.ids.size()", 0,
          "one id per sample, x.cols() = " + std::to_string(samples.size()) + ": Samples{x, ids}");
    detail::check_equal(where, "samples.ids.size()", Index(samples.ids.size()), "x.cols()",
                        samples.size());
    if (!samples.mask.empty())
      detail::check_equal(where, "samples.mask.size()", Index(samples.mask.size()), "x.cols()",
                          samples.size());
  }

  [[nodiscard]] ExpertId drawn(std::size_t id) const {
    return ExpertId(key_.index(id, std::uint64_t(num_experts())));
  }
  [[nodiscard]] ExpertId expert(std::int32_t id, Index b) const {
    const bool any_id = table_.empty();
    if (id < 0 || (!any_id && id >= num_ids())) [[unlikely]]
      detail::raise("HashGate::route", "ids[" + std::to_string(b) + "]", id,
                    any_id ? "at least 0" : "in 0.." + std::to_string(num_ids() - 1));
    if (!any_id) return table_[std::size_t(id)];
    const ExpertId slot = drawn(std::size_t(id));
    return labels_.size() == 0 ? slot : labels_[slot];
  }

  HashGateOptions options_;
  RandomKey key_{0};
  std::vector<ExpertId> table_;  // of every id, or empty
  Permutation labels_;           // of what is drawn without a table, or empty
};

template <class S>
HashGate<S> HashGate<S>::balanced(std::span<const std::int64_t> frequencies, Index num_experts) {
  of_table(Index(frequencies.size()), num_experts);
  for (std::size_t id = 0; id < frequencies.size(); ++id)
    if (frequencies[id] < 0) [[unlikely]]
      detail::raise("HashGate::balanced", "frequencies[" + std::to_string(id) + "]",
                    frequencies[id], "at least 0");
  // No expert's load overflows if the whole does not.
  std::int64_t sum = 0;
  for (const std::int64_t frequency : frequencies)
    if (__builtin_add_overflow(sum, frequency, &sum)) [[unlikely]]
      detail::raise("HashGate::balanced",
                    "the sum of frequencies is beyond the largest 64-bit number = " +
                        std::to_string(std::numeric_limits<std::int64_t>::max()));
  std::vector<std::size_t> order(frequencies.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return frequencies[a] > frequencies[b]; });

  // A heap whose top is the expert with the least load, the smallest number among equals.
  std::vector<std::pair<std::int64_t, ExpertId>> loads;
  for (Index i = 0; i < num_experts; ++i) loads.emplace_back(0, ExpertId(i));
  std::vector<ExpertId> table(frequencies.size());
  for (const std::size_t id : order) {
    std::pop_heap(loads.begin(), loads.end(), std::greater<>());
    table[id] = loads.back().second;
    loads.back().first += frequencies[id];
    std::push_heap(loads.begin(), loads.end(), std::greater<>());
  }
  return HashGate(std::move(table), num_experts);
}

}  // namespace comet
