// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/mlp.hpp>

namespace comet {

/// How many hidden units each expert of an upcycled block has.
struct UpcycleOptions {
  Index num_experts = 0;  ///< n >= 1
  Index shared = 0;       ///< the most important units, which every expert has, >= 0
  Index own = 0;          ///< units that it alone has, >= 0; shared + n own <= h
};

/// \brief The hidden units of each expert: the shared ones, most important first, then every n-th
/// of the rest by importance, from the i-th on for expert i. Of equal ones the smaller index comes
/// first.
/// \param importance  one number for each hidden unit
/// \throws std::invalid_argument if an expert would have no units, or there are too few of them
/// \throws NotFinite naming an importance that is not finite
template <class S>
[[nodiscard]] std::vector<std::vector<Index>> upcycled_units(const UpcycleOptions& options,
                                                             std::span<const S> importance) {
  constexpr const char* where = "upcycle";
  const auto [n, shared, own] = options;
  detail::check_at_least(where, "num_experts", n, 1);
  detail::check_at_least(where, "shared", shared, 0);
  detail::check_at_least(where, "own", own, 0);
  const auto units = Index(importance.size());
  detail::check_at_most(where, "shared", shared, "hidden_dim", units);
  detail::check_at_most(where, "own", own, "(hidden_dim - shared) / num_experts",
                        (units - shared) / n);
  detail::check_at_least(where, "shared + own", shared + own, 1);
  detail::check_finite<S>(where, "importance",
                          Eigen::Map<const Vector<S>>(importance.data(), units));
  std::vector<Index> order(importance.size());
  std::iota(order.begin(), order.end(), Index(0));
  std::ranges::stable_sort(order, [&](Index a, Index b) {
    return importance[std::size_t(a)] > importance[std::size_t(b)];
  });
  std::vector<std::vector<Index>> experts(std::size_t(n),
                                          {order.begin(), order.begin() + std::ptrdiff_t(shared)});
  for (Index i = 0; i < n * own; ++i)
    experts[std::size_t(i % n)].push_back(order[std::size_t(shared + i)]);
  return experts;
}

/// \brief Experts made of a trained feed-forward block: each is the block pruned to its units.
///
/// The most important units are in all of them, the others are dealt round. Every expert has the
/// whole output bias, so that weights that sum to 1 leave it as it is.
///
/// \code
///   auto experts = upcycle(block, {.num_experts = 4, .shared = 256, .own = 128}, importance);
///   MoeLayer layer(gate, std::move(experts));
/// \endcode
/// \param importance  one number for each hidden unit, e.g. of the gradients of a loss by its
///                    weights times those weights
/// \throws std::invalid_argument if an expert would have no units, or there are too few of them
/// \throws NotFinite naming an importance that is not finite
template <class S>
[[nodiscard]] std::vector<MlpExpert<S>> upcycle(
    const MlpExpert<S>& block, const UpcycleOptions& options,
    std::type_identity_t<std::span<const S>> importance) {
  detail::check_equal("upcycle", "importance.size()", Index(importance.size()), "hidden_dim",
                      block.hidden_dim());
  std::vector<const Parameter<S>*> from;
  for_each_parameter(block, [&](const ParameterName&, const auto& p) { from.push_back(&p); });
  std::vector<MlpExpert<S>> experts;
  for (const auto& units : upcycled_units(options, importance)) {
    MlpExpertOptions sizes = block.options();
    sizes.hidden_dim = Index(units.size());
    MlpExpert<S> expert(sizes, RandomKey(0));
    // In the order of visit(): weight and bias of the hidden units, then of the outputs.
    std::size_t i = 0;
    for_each_parameter(expert, [&](const ParameterName&, auto& p) {
      const Parameter<S>& whole = *from[i];
      if (i == 3) p = whole;
      for (Index unit = 0; i < 3 && unit < expert.hidden_dim(); ++unit) {
        const Index old = units[std::size_t(unit)];
        if (i == 0) {
          p.col(unit) = whole.col(old);
        } else {
          p.row(unit) = whole.row(old);
        }
      }
      ++i;
    });
    experts.push_back(std::move(expert));
  }
  return experts;
}

}  // namespace comet
