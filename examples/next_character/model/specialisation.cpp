// SPDX-License-Identifier: MIT
#include <next_character/model/specialisation.hpp>

#include <algorithm>
#include <numeric>

#include <comet/metrics/mutual_information.hpp>

#include <next_character/model/evaluation.hpp>

namespace programs::next_character {
namespace {

using Shares = std::vector<std::vector<double>>;

/// A place counts once, however little weight its experts have: that of a Top-k gate is a
/// probability.
/// \param order  the row that stands at each place
Shares shares_of(std::span<const PlaceRow> rows, std::span<const std::size_t> order,
                 std::span<const KindOfPlace> kinds, comet::Index num_experts) {
  Shares share(num_kinds_of_place, std::vector<double>(std::size_t(num_experts), 0));
  double sum = 0;
  for (std::size_t place = 0; place < order.size(); ++place) {
    const PlaceRow& row = rows[order[place]];
    const double weight = std::accumulate(row.weights.begin(), row.weights.end(), 0.0);
    if (weight == 0) continue;
    sum += 1;
    for (std::size_t i = 0; i < row.experts.size(); ++i)
      share[std::size_t(kinds[place])][std::size_t(row.experts[i])] +=
          double(row.weights[i]) / weight;
  }
  for (auto& of_kind : share)
    for (double& value : of_kind) value /= sum > 0 ? sum : 1;
  return share;
}

/// What kind of place and expert share.
double bits_of_both(const Shares& share) {
  comet::Matrix<double> together(comet::Index(share.size()), comet::Index(share.front().size()));
  for (std::size_t kind = 0; kind < share.size(); ++kind)
    for (std::size_t e = 0; e < share[kind].size(); ++e)
      together(comet::Index(kind), comet::Index(e)) = share[kind][e];
  return bits_of(comet::mutual_information(together));
}

}  // namespace

comet::ExpertId PlaceRow::first() const {
  if (experts.empty()) return -1;
  return experts[std::size_t(std::max_element(weights.begin(), weights.end()) - weights.begin())];
}

Specialisation specialisation_of(std::span<const PlaceRow> rows, std::span<const KindOfPlace> kinds,
                                 comet::Index num_experts, comet::RandomKey key) {
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Specialisation result;
  result.share = shares_of(rows, order, kinds, num_experts);
  result.mutual_information = bits_of_both(result.share);
  key.shuffle(std::span(order));
  result.of_shuffled_rows = bits_of_both(shares_of(rows, order, kinds, num_experts));
  return result;
}

}  // namespace programs::next_character
