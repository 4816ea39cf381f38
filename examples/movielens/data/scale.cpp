// SPDX-License-Identifier: MIT
#include <movielens/data/scale.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include <movielens/data/numbers.hpp>

namespace programs::movielens {
namespace {

/// The lowest rating or, of the negative ratings, the highest; and what comes next.
struct Extreme {
  float value = std::numeric_limits<float>::infinity();
  float next = std::numeric_limits<float>::infinity();
  std::size_t count = 0;

  void take(float stars) {
    if (stars < value) {
      next = value;
      value = stars;
      count = 0;
    } else if (stars > value && stars < next) {
      next = stars;
    }
    count += stars == value ? 1 : 0;
  }
};

/// Is it what people write below a scale from `lowest` to `highest`?
bool is_below_scale(float value, float lowest, float highest) {
  const bool is_whole = value == std::trunc(value);
  if (!is_whole || value > 0 || highest < 2 || !std::isfinite(lowest)) return false;
  return value == 0 ? lowest >= 1 : lowest >= 0 && highest != -value;
}

/// And above one?
bool is_above_scale(float value, float highest) {
  constexpr float longest_scale = 20;
  return (value == 99 || value == 999 || value == 9999) && highest <= longest_scale;
}

std::string remark(float value, std::size_t count, std::size_t total, float lowest, float highest) {
  return counted(count, "rating") + " of " + std::to_string(total) +
         (count == 1 ? " is " : " are ") + shown(value) + ", all others from " + shown(lowest) +
         " to " + shown(highest) + "; if it means \"not rated\": --not-rated " + shown(value);
}

}  // namespace

std::vector<std::string> remarks_on_scale(std::span<const Row> rows) {
  Extreme low;
  Extreme negative_high;
  for (const Row& row : rows) {
    low.take(row.stars);
    negative_high.take(-row.stars);
  }
  const float high = -negative_high.value;
  const float next_high = -negative_high.next;
  std::vector<std::string> remarks;
  const bool above = is_above_scale(high, next_high);
  const float highest = above ? next_high : high;
  const bool below = is_below_scale(low.value, low.next, highest);
  const float lowest = below ? low.next : low.value;
  if (below) remarks.push_back(remark(low.value, low.count, rows.size(), lowest, highest));
  if (above) remarks.push_back(remark(high, negative_high.count, rows.size(), lowest, highest));
  return remarks;
}

}  // namespace programs::movielens
