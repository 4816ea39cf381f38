// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of a HashGate, with defaults where there is a sensible one.
struct HashGateOptions {
  Index num_ids = 0;      ///< ids are 0..num_ids-1, num_ids >= 1
  Index num_experts = 0;  ///< n >= 1
};

/// \brief Hash layer: a fixed table sends each id (user, item, token) to one expert, with weight 1.
///
///     g_i = 1 if i = table[id], else 0                        (Roller et al., NeurIPS 2021)
///
/// The table is drawn once, given, or balanced by frequency. It does not learn: the gate has no
/// parameters.
///
/// \par Cost     one look-up per sample
/// \par Threads  route() is const: concurrent calls are safe with distinct routings
/// \tparam S     float or double, the scalar of the weights
/// \see CometGate, TopKGate, which learn where to send a sample
template <class S>
class HashGate {
 public:
  using Scalar = S;                             ///< float or double.
  using Input = std::span<const std::int32_t>;  ///< What route() looks at.

  /// \brief Nothing: the gate needs no scratch.
  class Workspace {};

  /// \brief A random table, each id's expert uniform and independent.
  /// \throws std::invalid_argument if an option is outside its bounds
  HashGate(HashGateOptions options, RandomKey key)
      : num_experts_(validated(options)), table_(std::size_t(options.num_ids)) {
    for (std::size_t id = 0; id < table_.size(); ++id)
      table_[id] = ExpertId(key.index(id, std::uint64_t(num_experts_)));
  }

  /// \brief A given table. \param table  the expert of every id, not empty
  /// \throws std::invalid_argument naming the first id whose expert is out of range
  HashGate(std::vector<ExpertId> table, Index num_experts)
      : num_experts_(validated({Index(table.size()), num_experts})), table_(std::move(table)) {
    for (std::size_t id = 0; id < table_.size(); ++id)
      if (table_[id] < 0 || table_[id] >= num_experts_) [[unlikely]]
        detail::raise("HashGate", "table[" + std::to_string(id) + "]", table_[id],
                      "in 0.." + std::to_string(num_experts_ - 1));
  }

  /// \brief A table that spreads the load: ids from the most to the least frequent, each to the
  /// expert with the least so far. Ties go to the smaller id and the smaller expert.
  /// \param frequencies  how often each id occurs, >= 0, not empty
  /// \throws std::invalid_argument naming the first frequency that is negative
  /// \par Cost  O(ids (log ids + log n))
  [[nodiscard]] static HashGate balanced(std::span<const std::int64_t> frequencies,
                                         Index num_experts);

  /// Number of ids.
  [[nodiscard]] Index num_ids() const noexcept { return Index(table_.size()); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return num_experts_; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return 1; }
  /// The expert of every id.
  [[nodiscard]] std::span<const ExpertId> table() const noexcept { return table_; }

  /// \brief A gate that gives what this one gives to expert i to expert p(i).
  /// \throws std::invalid_argument if p is not of num_experts() experts
  [[nodiscard]] HashGate permuted(const Permutation& p) const {
    detail::check_equal("HashGate::permuted", "p.size()", p.size(), "num_experts", num_experts());
    HashGate result = *this;
    for (ExpertId& expert : result.table_) expert = p[expert];
    return result;
  }

  /// \brief Routes a batch. \param ids  one per sample \param routing  resized here
  /// \throws std::invalid_argument naming the first id that is out of range
  void route(const std::span<const std::int32_t>& ids, Routing<S>& routing,
             Workspace& /*workspace*/) const {
    routing.clear();
    for (std::size_t b = 0; b < ids.size(); ++b) {
      if (ids[b] < 0 || ids[b] >= num_ids()) [[unlikely]]
        detail::raise("HashGate::route", "ids[" + std::to_string(b) + "]", ids[b],
                      "in 0.." + std::to_string(num_ids() - 1));
      routing.push(table_[std::size_t(ids[b])], S(1));
      routing.end_sample();
    }
  }

 private:
  static Index validated(const HashGateOptions& options) {
    detail::check_at_least("HashGate", "num_ids", options.num_ids, 1);
    detail::check_at_least("HashGate", "num_experts", options.num_experts, 1);
    detail::check_at_most("HashGate", "num_experts", options.num_experts, "the largest ExpertId",
                          std::numeric_limits<ExpertId>::max());
    return options.num_experts;
  }

  Index num_experts_;
  std::vector<ExpertId> table_;
};

template <class S>
HashGate<S> HashGate<S>::balanced(std::span<const std::int64_t> frequencies, Index num_experts) {
  validated({Index(frequencies.size()), num_experts});
  for (std::size_t id = 0; id < frequencies.size(); ++id)
    if (frequencies[id] < 0) [[unlikely]]
      detail::raise("HashGate::balanced", "frequencies[" + std::to_string(id) + "]",
                    frequencies[id], "at least 0");
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
