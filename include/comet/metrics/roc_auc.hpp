// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>

namespace comet {

/// \brief Area under the receiver operating characteristic, exact.
///
///   AUC = P(score of a positive > score of a negative) + 1/2 P(equal scores)
///       = (R - P (P + 1) / 2) / (P N)
/// with R the sum of the ranks of the P positives among all P + N scores, ties sharing their mean
/// rank (Hanley and McNeil, Radiology 143, 1982). No binning: the ranks are counted in integers,
/// one division rounds.
///
/// \param[in] scores  any real numbers, larger meaning "more likely positive"; infinities are
///                    ordered as usual. Logits do as well as probabilities
/// \param[in] labels  as many, each 0 (negative) or 1 (positive)
/// \return a number in [0, 1]
/// \throws std::invalid_argument if the sizes differ, a score is nan, a label is neither 0 nor 1,
///         or one of the classes is absent: the area is undefined then
/// \par Cost     O(B log B) for B scores; one allocation of B pairs
/// \par Threads  no shared state
template <std::floating_point S, class Label>
requires std::floating_point<Label> || std::integral<Label>
[[nodiscard]] double roc_auc(std::span<const S> scores, std::span<const Label> labels) {
  constexpr auto where = "roc_auc";
  detail::check_equal(where, "labels.size()", static_cast<Index>(labels.size()), "scores.size()",
                      static_cast<Index>(scores.size()));
  std::vector<std::pair<S, bool>> order(scores.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (std::isnan(scores[i])) [[unlikely]]
      detail::raise(where, "scores[" + std::to_string(i) + "]", scores[i], "a number");
    if (labels[i] != Label(0) && labels[i] != Label(1)) [[unlikely]]
      detail::raise(where, "labels[" + std::to_string(i) + "]", labels[i], "0 or 1");
    order[i] = {scores[i], labels[i] == Label(1)};
  }
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });

  // Twice the mean rank of the equal scores at places first..last-1 (counted from 0) is
  // first + last + 1: a whole number, so the sum is exact.
  std::uint64_t positives = 0;
  std::uint64_t doubled_rank_sum = 0;
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    std::uint64_t positives_here = 0;
    for (; last < order.size() && order[last].first == order[first].first; ++last)
      positives_here += order[last].second ? 1U : 0U;
    doubled_rank_sum += positives_here * (first + last + 1);
    positives += positives_here;
    first = last;
  }
  const std::uint64_t negatives = order.size() - positives;
  if (positives == 0 || negatives == 0) [[unlikely]]
    detail::raise(where, "the number of positive labels", positives,
                  "between 1 and " + std::to_string(order.size()) + " - 1: both classes");
  const std::uint64_t doubled_wins = doubled_rank_sum - positives * (positives + 1);
  return static_cast<double>(doubled_wins) /
         (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

}  // namespace comet
