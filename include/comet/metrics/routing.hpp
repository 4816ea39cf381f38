// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/number_text.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What a gate has made of its experts: how many a sample has, how evenly they are used, how
/// decided the rows are, and whether they differ from sample to sample at all.

namespace comet {

/// \brief A routing in a few numbers. Rows are taken as shares: weights over their sum; a row
/// without weight (a masked sample) is no row.
struct RoutingSummary {
  Index num_experts = 0;          ///< n
  Index num_rows = 0;             ///< Samples that are routed to some expert.
  std::vector<Index> load = {};   ///< n: samples of each expert
  std::vector<double> mass = {};  ///< n: each expert's share of all weight; sums to 1
  double experts_per_sample = 0;  ///< Entries that are not 0, per row.
  /// exp(H(mean row)): n if all weight is spread evenly, 1 if one expert has it all.
  double effective_experts = 0;
  /// exp(mean H(row)): 1 if every row has decided, k if it hesitates between k.
  double effective_per_sample = 0;
  /// H(mean row) - mean H(row), in nats: what a sample tells about its experts. 0 if the gate is a
  /// constant, log n at most.
  double mutual_information = 0;
};

/// \brief Sums up a routing. \param num_experts  n
/// \throws std::invalid_argument if n is negative, naming the first entry that is not in 0..n-1 or
///         whose weight is not a finite number >= 0
/// \par Cost  O(entries + n); allocates 2 n numbers
template <class S>
[[nodiscard]] RoutingSummary summarize(const Routing<S>& routing, Index num_experts) {
  detail::check_at_least("summarize", "num_experts", num_experts, 0);
  routing.validate("summarize", num_experts, routing.num_samples());
  detail::check_weights("summarize", routing);
  RoutingSummary result{.num_experts = num_experts};
  result.load.assign(std::size_t(num_experts), 0);
  result.mass.assign(std::size_t(num_experts), 0.0);
  const auto entropy = [](double p) { return p > 0 ? -p * std::log(p) : 0.0; };
  double row_entropy = 0;
  Index entries = 0;
  for (Index b = 0; b < routing.num_samples(); ++b) {
    const auto experts = routing.experts(b);
    const auto weights = routing.weights(b);
    double sum = 0;
    for (const S weight : weights) sum += double(weight);
    if (!(sum > 0)) continue;
    ++result.num_rows;
    for (std::size_t i = 0; i < experts.size(); ++i) {
      if (weights[i] == S(0)) continue;
      const double share = double(weights[i]) / sum;
      ++entries;
      ++result.load[std::size_t(experts[i])];
      result.mass[std::size_t(experts[i])] += share;
      row_entropy += entropy(share);
    }
  }
  if (result.num_rows == 0) return result;
  const auto rows = double(result.num_rows);
  double mean_entropy = 0;
  for (double& mass : result.mass) mean_entropy += entropy(mass /= rows);
  row_entropy /= rows;
  result.experts_per_sample = double(entries) / rows;
  result.effective_experts = std::exp(mean_entropy);
  result.effective_per_sample = std::exp(row_entropy);
  result.mutual_information = std::max(0.0, mean_entropy - row_entropy);
  return result;
}

/// \brief The same in a line: `2.1 experts per sample, 1.7 by weight; the batch uses 6.9 of 8`,
/// whatever the locale.
[[nodiscard]] inline std::string to_string(const RoutingSummary& summary) {
  const auto shown = [](double value) {
    return detail::number_text(value, std::chars_format::fixed, 1);
  };
  return shown(summary.experts_per_sample) + " experts per sample, " +
         shown(summary.effective_per_sample) + " by weight; the batch uses " +
         shown(summary.effective_experts) + " of " + std::to_string(summary.num_experts);
}

/// \brief What the last batch of a pass was routed to, in a line per task: `task 0: ` and so on
/// before it, if there are several.
/// \param pass  of a MoeLayer, after forward() or predict()
template <class Layer>
[[nodiscard]] std::string summary(const Pass<Layer>& pass) {
  const auto routings = pass.workspace.routings();
  std::string text;
  for (std::size_t task = 0; task < routings.size(); ++task) {
    if (task > 0) text += '\n';
    if (routings.size() > 1) text += "task " + std::to_string(task) + ": ";
    const auto& routing = routings[task];
    text += to_string(summarize(routing, pass.workspace.plan().num_experts()));
  }
  return text;
}

}  // namespace comet
