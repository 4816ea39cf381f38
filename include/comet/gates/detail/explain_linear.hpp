// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/explain_logit.hpp>
#include <comet/gates/detail/slot_labels.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet::detail {

/// \brief What speaks for the experts that a comparison of linear logits takes.
///
/// Each is set against the best that is not taken; where all are, the first against the second.
/// \param row  of the sample, by the bare gate: experts are logits
template <class S>
Explanation<S> explain_linear(const Hyperplanes<S>& planes, const ConstMatrixView<S>& x,
                              const Routing<S>& row, std::span<const Permutation> permutations,
                              const ExplainNames& names) {
  Explanation<S> result;
  result.names = names;
  result.distance = std::numeric_limits<S>::infinity();
  result.experts = relabelled(row, [&](ExpertId i) { return permuted_expert(permutations, i); });

  std::vector<S> h(std::size_t(planes.size()));
  for (Index i = 0; i < planes.size(); ++i) h[std::size_t(i)] = planes.logit(i, x.data());
  // Those taken first, then the others; by logit, equal ones by number, as gates do.
  std::vector<Index> order(h.size());
  std::iota(order.begin(), order.end(), Index(0));
  std::sort(order.begin(), order.end(), [&](Index i, Index j) {
    const S hi = h[std::size_t(i)], hj = h[std::size_t(j)];
    return hi > hj || (hi == hj && i < j);
  });
  const auto taken = row.experts().size();
  const bool all = taken == order.size();
  const auto lead = [&](Index i, Index j) { return h[std::size_t(i)] - h[std::size_t(j)]; };
  const auto direction = [&](Index i, Index j) {
    return Vector<S>(planes.weight().col(i) - planes.weight().col(j));
  };
  for (std::size_t a = 0; a < (all ? std::min(order.size() - 1, std::size_t(1)) : taken); ++a) {
    const Index i = order[a];
    const Index j = order[all ? 1 : taken];
    const Vector<S> w = direction(i, j);
    const S constant = planes.has_bias() ? planes.bias()(i, 0) - planes.bias()(j, 0) : S(0);
    result.choices.push_back({.expert = permuted_expert(permutations, i),
                              .against = permuted_expert(permutations, j),
                              .lead = taken_apart(lead(i, j), w, constant, x.data()),
                              .distance = distance_of(lead(i, j), w)});
    for (std::size_t b = taken; b < order.size(); ++b)
      result.distance =
          std::min(result.distance, distance_of(lead(i, order[b]), direction(i, order[b])));
  }
  return result;
}

}  // namespace comet::detail
