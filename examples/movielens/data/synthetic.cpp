// SPDX-License-Identifier: MIT
#include <movielens/data/synthetic.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::movielens {
namespace {

using comet::RandomKey;

constexpr std::size_t rank = 8;
// Chosen so that mean, spread and skew are near those of the real editions: mean 3.5, standard
// deviation 1.05, and a model of rank 8 can explain a good half of the variance.
constexpr double popularity_slope = 0.9;  // popularity ~ (place + 10)^-slope
constexpr double taste_in_watching = 0.9;
constexpr double mean_stars = 3.15;  // of all pairs; those watched are liked better
constexpr double user_bias = 0.4;
constexpr double item_bias = 0.4;
constexpr double taste_in_stars = 0.65;
constexpr double noise = 0.6;

// Places below the key.
constexpr int activity = 0;
constexpr int user_factors = 1;
constexpr int item_factors = 2;
constexpr int user_biases = 3;
constexpr int item_biases = 4;
constexpr int popularity = 5;
constexpr int watching = 6;
constexpr int rating_noise = 7;

using Factors = std::vector<std::array<double, rank>>;

Factors draw_factors(std::size_t count, RandomKey key) {
  Factors factors(count);
  std::uint64_t counter = 0;
  for (auto& factor : factors)
    for (double& value : factor) value = key.normal(counter++);
  return factors;
}

/// Standard normal for independent standard normal factors.
double fit(const std::array<double, rank>& a, const std::array<double, rank>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0) /
         std::sqrt(static_cast<double>(rank));
}

void expect(bool right, const char* flag, std::int64_t value, const std::string& what) {
  if (!right)
    throw std::invalid_argument(std::string(flag) + " is " + std::to_string(value) + ", expected " +
                                what);
}

void check(const SyntheticOptions& o) {
  expect(o.users >= 2, "--users", o.users, "at least 2");
  expect(o.items >= 2, "--items", o.items, "at least 2");
  expect(o.seed >= 0, "--seed", o.seed, "at least 0");
  const std::int64_t fewest = std::max(o.users, o.items);
  const std::int64_t most = std::int64_t{o.users} * o.items;
  expect(o.ratings >= fewest && o.ratings <= most, "--ratings", o.ratings,
         "from " + std::to_string(fewest) + " to " + std::to_string(most) + " with " +
             std::to_string(o.users) + " users and " + std::to_string(o.items) + " items");
}

/// Ratings per user: the fewest each must have, the rest by a skewed activity, none above `items`.
std::vector<std::size_t> ratings_per_user(const SyntheticOptions& o, RandomKey key) {
  const auto users = static_cast<std::size_t>(o.users);
  const auto items = static_cast<std::size_t>(o.items);
  std::vector<std::size_t> count(users);
  std::vector<double> share(users);
  std::size_t left = static_cast<std::size_t>(o.ratings);
  for (std::size_t u = 0; u < users; ++u) {
    // Items u, u + users, u + 2 users, ... are this user's duty, so that each item is rated.
    count[u] = std::max<std::size_t>(1, items / users + (u < items % users ? 1 : 0));
    share[u] = std::exp(key.normal(u));
    left -= count[u];
  }
  const double total = std::accumulate(share.begin(), share.end(), 0.0);
  const double extra = static_cast<double>(left);
  for (std::size_t u = 0; u < users; ++u) {
    const std::size_t more =
        std::min(items - count[u], static_cast<std::size_t>(extra * share[u] / total));
    count[u] += more;
    left -= more;
  }
  // What rounding and the limit left over goes to those who still have room.
  for (std::size_t u = 0; left > 0; u = (u + 1) % users) {
    if (count[u] == items) continue;
    const std::size_t more = std::min({left, items - count[u], std::max<std::size_t>(1, left / 8)});
    count[u] += more;
    left -= more;
  }
  return count;
}

float half_stars(double stars) {
  return static_cast<float>(std::clamp(std::round(2 * stars) / 2, 0.5, 5.0));
}

std::vector<std::string> numbers_from_1(std::int32_t count) {
  std::vector<std::string> ids;
  for (std::int32_t i = 1; i <= count; ++i) ids.push_back(std::to_string(i));
  return ids;
}

}  // namespace

Ratings make_synthetic_ratings(const SyntheticOptions& options) {
  check(options);
  const RandomKey key(static_cast<std::uint64_t>(options.seed));
  const auto users = static_cast<std::size_t>(options.users);
  const auto items = static_cast<std::size_t>(options.items);
  const std::vector<std::size_t> count = ratings_per_user(options, key.fold(activity));
  const Factors of_user = draw_factors(users, key.fold(user_factors));
  const Factors of_item = draw_factors(items, key.fold(item_factors));

  std::vector<std::size_t> place(items);
  std::iota(place.begin(), place.end(), std::size_t{0});
  key.fold(popularity).shuffle(std::span(place));
  std::vector<double> log_popularity(items);
  for (std::size_t i = 0; i < items; ++i)
    log_popularity[i] = -popularity_slope * std::log(static_cast<double>(place[i] + 10));

  Ratings ratings;
  ratings.user_ids = numbers_from_1(options.users);
  ratings.item_ids = numbers_from_1(options.items);
  ratings.offsets.push_back(0);
  std::vector<double> taste(items);
  std::vector<double> score(items);
  std::vector<std::int32_t> chosen(items);
  for (std::size_t u = 0; u < users; ++u) {
    // The items with the largest log weight + Gumbel noise are a draw without replacement in
    // proportion to the weights.
    const RandomKey gumbel = key.fold(watching).fold(u);
    for (std::size_t i = 0; i < items; ++i) {
      taste[i] = fit(of_user[u], of_item[i]);
      score[i] = i % users == u ? std::numeric_limits<double>::infinity()
                                : log_popularity[i] + taste_in_watching * taste[i] -
                                      std::log(-std::log(gumbel.uniform(i)));
    }
    std::iota(chosen.begin(), chosen.end(), 0);
    const auto end = chosen.begin() + static_cast<std::ptrdiff_t>(count[u]);
    std::partial_sort(chosen.begin(), end, chosen.end(), [&](std::int32_t a, std::int32_t b) {
      return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
    });
    std::sort(chosen.begin(), end);

    const RandomKey surprise = key.fold(rating_noise).fold(u);
    for (auto item = chosen.begin(); item != end; ++item) {
      const auto i = static_cast<std::size_t>(*item);
      ratings.item.push_back(*item);
      ratings.value.push_back(half_stars(mean_stars + user_bias * key.fold(user_biases).normal(u) +
                                         item_bias * key.fold(item_biases).normal(i) +
                                         taste_in_stars * taste[i] + noise * surprise.normal(i)));
    }
    ratings.offsets.push_back(ratings.item.size());
  }
  return ratings;
}

void write_synthetic(const std::filesystem::path& directory, const Ratings& ratings,
                     std::string_view source) {
  for (const char* name : {"ratings.csv", "movies.csv", "SOURCE"})
    if (std::filesystem::exists(directory / name))
      throw FileError(directory / name, "exists already and is not replaced");
  make_directories(directory);

  std::string movies = "movieId,title,genres\n";
  for (const std::string& id : ratings.item_ids) {
    const std::string year = std::to_string(1950 + (std::stol(id) * 37) % 70);
    movies += id + ",\"Synthetic Movie, No. " + id + " (" + year + ")\",(no genres listed)\n";
  }
  std::string rows = "userId,movieId,rating,timestamp\n";
  for (std::int32_t user = 0; user < ratings.num_users(); ++user) {
    const auto u = static_cast<std::size_t>(user);
    for (std::size_t r = ratings.offsets[u]; r < ratings.offsets[u + 1]; ++r) {
      const int halves = static_cast<int>(2 * ratings.value[r]);
      rows += ratings.user_ids[u] + ',' +
              ratings.item_ids[static_cast<std::size_t>(ratings.item[r])] + ',' +
              std::to_string(halves / 2) + (halves % 2 == 0 ? ".0," : ".5,") +
              std::to_string(1'000'000'000 + 60 * r) + '\n';
    }
  }
  // SOURCE first: at no moment are there made-up ratings without the note that says so.
  write_atomically(directory / "SOURCE", std::string(source) + "\n");
  write_atomically(directory / "movies.csv", movies);
  write_atomically(directory / "ratings.csv", rows);
}

}  // namespace programs::movielens
