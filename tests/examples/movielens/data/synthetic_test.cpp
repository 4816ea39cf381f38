// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <movielens/data/ratings.hpp>
#include <movielens/data/synthetic.hpp>
#include <movielens/data/titles.hpp>
#include <programs/base/file_error.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::TemporaryDirectory;
using programs::movielens::make_synthetic_ratings;
using programs::movielens::Ratings;
using programs::movielens::SyntheticOptions;

TEST_CASE("make_synthetic_ratings: exactly the size asked for, everyone present",
          "[movielens][synthetic]") {
  // The extremes: one rating each, every pair, more users than items, fewer.
  for (const SyntheticOptions& o :
       {SyntheticOptions{.users = 30, .items = 50, .ratings = 400, .seed = 1},
        SyntheticOptions{.users = 30, .items = 50, .ratings = 50, .seed = 1},
        SyntheticOptions{.users = 50, .items = 30, .ratings = 50, .seed = 1},
        SyntheticOptions{.users = 7, .items = 9, .ratings = 63, .seed = 1},
        SyntheticOptions{.users = 7, .items = 9, .ratings = 60, .seed = 2}}) {
    const Ratings ratings = make_synthetic_ratings(o);
    CHECK(ratings.size() == static_cast<std::size_t>(o.ratings));
    CHECK(ratings.num_users() == o.users);
    CHECK(ratings.num_items() == o.items);
    CHECK(ratings.offsets.back() == ratings.size());
    std::vector<bool> rated(static_cast<std::size_t>(o.items), false);
    for (std::int32_t user = 0; user < o.users; ++user) {
      const auto items = ratings.items_of(user);
      CHECK(!items.empty());
      CHECK(std::adjacent_find(items.begin(), items.end(), std::greater_equal<>()) == items.end());
      for (const std::int32_t item : items) rated[static_cast<std::size_t>(item)] = true;
    }
    CHECK(std::count(rated.begin(), rated.end(), true) == o.items);
    for (const float value : ratings.value) {
      CHECK((value >= 0.5F && value <= 5.0F));
      CHECK(2 * value == std::round(2 * value));
    }
  }
}

TEST_CASE("make_synthetic_ratings: skewed, and a function of the seed", "[movielens][synthetic]") {
  const SyntheticOptions options{.users = 200, .items = 300, .ratings = 6000, .seed = 9};
  const Ratings ratings = make_synthetic_ratings(options);
  std::vector<int> per_item(300, 0);
  for (const std::int32_t item : ratings.item) ++per_item[static_cast<std::size_t>(item)];
  std::sort(per_item.begin(), per_item.end(), std::greater<>());
  CHECK(std::accumulate(per_item.begin(), per_item.begin() + 30, 0) > 6000 / 4);
  const double mean = std::accumulate(ratings.value.begin(), ratings.value.end(), 0.0) / 6000;
  CHECK(mean > 3.0);
  CHECK(mean < 4.0);

  const Ratings again = make_synthetic_ratings(options);
  CHECK(again.item == ratings.item);
  CHECK(again.value == ratings.value);
  SyntheticOptions other = options;
  other.seed = 10;
  CHECK(make_synthetic_ratings(other).item != ratings.item);
}

TEST_CASE("make_synthetic_ratings: refuses impossible sizes", "[movielens][synthetic][error]") {
  CHECK_THROWS_WITH(make_synthetic_ratings({.users = 1, .items = 5, .ratings = 5, .seed = 1}),
                    "--users is 1, expected at least 2");
  CHECK_THROWS_WITH(make_synthetic_ratings({.users = 5, .items = -3, .ratings = 5, .seed = 1}),
                    "--items is -3, expected at least 2");
  CHECK_THROWS_WITH(make_synthetic_ratings({.users = 3, .items = 5, .ratings = 5, .seed = -1}),
                    "--seed is -1, expected at least 0");
  CHECK_THROWS_WITH(make_synthetic_ratings({.users = 3, .items = 5, .ratings = 4, .seed = 1}),
                    "--ratings is 4, expected from 5 to 15 with 3 users and 5 items");
  CHECK_THROWS_AS(make_synthetic_ratings({.users = 3, .items = 5, .ratings = 16, .seed = 1}),
                  std::invalid_argument);
}

TEST_CASE("write_synthetic: reads back as it was made, and says what it is",
          "[movielens][synthetic]") {
  const TemporaryDirectory directory;
  const auto target = directory.path() / "new" / "data";
  const Ratings made = make_synthetic_ratings({.users = 12, .items = 20, .ratings = 90, .seed = 4});
  programs::movielens::write_synthetic(target, made, "synthetic: 12 users");
  const Ratings read = programs::movielens::read_ratings(target);
  CHECK(read.user_ids == made.user_ids);
  CHECK(read.item_ids == made.item_ids);
  CHECK(read.offsets == made.offsets);
  CHECK(read.item == made.item);
  CHECK(read.value == made.value);
  CHECK(programs::movielens::source_of(read.file) == "synthetic: 12 users");
  const auto titles = programs::movielens::read_titles(target);
  CHECK(titles.size() == 20);
  CHECK(titles.at("7").starts_with("Synthetic Movie, No. 7 ("));
  CHECK_THROWS_AS(programs::movielens::write_synthetic(target, made, "again"), programs::FileError);
  CHECK(programs::movielens::source_of(read.file) == "synthetic: 12 users");
}
