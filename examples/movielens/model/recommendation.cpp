// SPDX-License-Identifier: MIT
#include <movielens/model/recommendation.hpp>

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include <comet/kernels/functions.hpp>

namespace programs::movielens {
namespace {

/// The first `count` of 0..n-1 in an order.
template <class Before>
std::vector<std::size_t> first_of(std::size_t n, int count, Before before) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto end = order.begin() + std::min(std::ptrdiff_t(n), std::ptrdiff_t(count));
  std::partial_sort(order.begin(), end, order.end(), before);
  order.erase(end, order.end());
  return order;
}

}  // namespace

OpenPairs open_pairs(const ModelFile& file, std::int32_t user, const std::string& user_id,
                     const Ratings& ratings, int fewest) {
  std::unordered_map<std::string, int> count;
  for (const std::int32_t item : ratings.item) ++count[ratings.item_ids[std::size_t(item)]];
  std::unordered_set<std::string> rated;
  const auto found = std::find(ratings.user_ids.begin(), ratings.user_ids.end(), user_id);
  if (found != ratings.user_ids.end())
    for (const std::int32_t item : ratings.items_of(std::int32_t(found - ratings.user_ids.begin())))
      rated.insert(ratings.item_ids[std::size_t(item)]);
  OpenPairs open;
  for (std::size_t item = 0; item < file.item_ids().size(); ++item) {
    const auto counted = count.find(file.item_ids()[item]);
    const int times = counted == count.end() ? 0 : counted->second;
    if (times < fewest || rated.contains(file.item_ids()[item])) continue;
    open.rows.item.push_back(std::int32_t(item));
    open.ratings.push_back(times);
  }
  open.rows.user.assign(open.rows.item.size(), user);
  open.rows.watched.assign(open.rows.item.size(), 0.0F);
  open.rows.rating.assign(open.rows.item.size(), 0.0F);
  return open;
}

double score(const Predictions& predictions, std::size_t row) {
  return comet::sigmoid(predictions.logits[row]) * predictions.stars[row];
}

std::vector<std::size_t> best_rows(const Predictions& predictions, int count) {
  std::vector<double> scores(predictions.stars.size());
  for (std::size_t row = 0; row < scores.size(); ++row) scores[row] = score(predictions, row);
  return first_of(scores.size(), count, [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
}

std::vector<RatedOften> most_rated(const Ratings& ratings, int count) {
  std::vector<int> times(std::size_t(ratings.num_items()), 0);
  for (const std::int32_t item : ratings.item) ++times[std::size_t(item)];
  std::vector<RatedOften> result;
  for (const std::size_t item : first_of(times.size(), count, [&](std::size_t a, std::size_t b) {
         return times[a] != times[b] ? times[a] > times[b] : a < b;
       }))
    result.push_back({.item = item, .count = times[item]});
  return result;
}

}  // namespace programs::movielens
