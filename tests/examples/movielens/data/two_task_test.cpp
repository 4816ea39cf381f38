// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/random.hpp>

#include <movielens/data/batches.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/synthetic.hpp>
#include <movielens/data/two_task.hpp>
#include <programs/base/file_error.hpp>

#include <support/catch.hpp>

using comet::RandomKey;
using programs::movielens::make_two_task_data;
using programs::movielens::Ratings;
using programs::movielens::TwoTaskData;
using programs::movielens::TwoTaskRows;

namespace {

/// items[u] are the items rated by user u, increasing.
Ratings ratings_of(const std::vector<std::vector<std::int32_t>>& items, std::int32_t num_items) {
  Ratings ratings;
  ratings.file = "toy";
  ratings.offsets = {0};
  for (std::size_t u = 0; u < items.size(); ++u) {
    ratings.user_ids.push_back(std::to_string(u));
    for (const std::int32_t item : items[u]) {
      ratings.item.push_back(item);
      ratings.value.push_back(static_cast<float>(1 + item % 5));
    }
    ratings.offsets.push_back(ratings.item.size());
  }
  for (std::int32_t i = 0; i < num_items; ++i) ratings.item_ids.push_back(std::to_string(i));
  return ratings;
}

using Row = std::tuple<std::int32_t, std::int32_t, float, float>;

std::vector<Row> rows_of(const TwoTaskRows& rows) {
  std::vector<Row> result;
  for (std::size_t i = 0; i < rows.size(); ++i)
    result.emplace_back(rows.user[i], rows.item[i], rows.watched[i], rows.rating[i]);
  return result;
}

std::vector<Row> all_rows(const TwoTaskData& data) {
  std::vector<Row> result;
  for (const TwoTaskRows* rows : {&data.train, &data.validation, &data.test})
    for (const Row& row : rows_of(*rows)) result.push_back(row);
  std::sort(result.begin(), result.end());
  return result;
}

std::size_t positives(const TwoTaskRows& rows) {
  return static_cast<std::size_t>(std::count(rows.watched.begin(), rows.watched.end(), 1.0F));
}

}  // namespace

TEST_CASE("make_two_task_data: every rating once, no negative is a rating",
          "[movielens][two_task]") {
  const Ratings ratings = programs::movielens::make_synthetic_ratings(
      {.users = 40, .items = 60, .ratings = 1200, .seed = 3});
  const TwoTaskData data = make_two_task_data(ratings, RandomKey(5));
  CHECK(data.num_users == 40);
  CHECK(data.num_items == 60);

  std::vector<Row> expected;
  std::map<std::int32_t, std::size_t> negatives_of;
  std::set<std::pair<std::int32_t, std::int32_t>> pairs;
  for (std::int32_t user = 0; user < 40; ++user)
    for (std::size_t r = ratings.offsets[static_cast<std::size_t>(user)];
         r < ratings.offsets[static_cast<std::size_t>(user) + 1]; ++r)
      expected.emplace_back(user, ratings.item[r], 1.0F, ratings.value[r]);
  std::vector<Row> actual;
  bool all_masked = true;
  for (const auto& [user, item, watched, rating] : all_rows(data)) {
    CHECK(pairs.emplace(user, item).second);  // also: no negative is a rated pair
    if (watched == 1.0F) {
      actual.emplace_back(user, item, watched, rating);
    } else {
      ++negatives_of[user];
      all_masked = all_masked && watched == 0.0F && rating == 0.0F;
    }
  }
  CHECK(actual == expected);
  CHECK(all_masked);
  for (std::int32_t user = 0; user < 40; ++user) {
    const std::size_t rated = ratings.items_of(user).size();
    CHECK(negatives_of[user] == std::min<std::size_t>(rated, 60 - rated));
  }
}

TEST_CASE("make_two_task_data: shares of both classes in every split", "[movielens][two_task]") {
  // The first user has rated all but one item, so there are fewer negatives than positives.
  std::vector<std::vector<std::int32_t>> items(9);
  for (std::int32_t i = 0; i < 99; ++i) items[0].push_back(i);
  for (std::size_t u = 1; u < 9; ++u)
    for (std::int32_t i = 0; i < 50; i += 2) items[u].push_back(i);
  const TwoTaskData data = make_two_task_data(ratings_of(items, 100), RandomKey(1));
  // 299 positives: 30 test, then 12.5 % of 269. 201 negatives: 20 test, then 12.5 % of 181.
  CHECK(positives(data.test) == 30);
  CHECK(positives(data.validation) == 34);
  CHECK(positives(data.train) == 235);
  CHECK(data.test.size() - positives(data.test) == 20);
  CHECK(data.validation.size() - positives(data.validation) == 23);
  CHECK(data.train.size() - positives(data.train) == 158);
}

TEST_CASE("make_two_task_data: a function of the key", "[movielens][two_task]") {
  const Ratings ratings = programs::movielens::make_synthetic_ratings(
      {.users = 20, .items = 50, .ratings = 400, .seed = 3});
  const TwoTaskData a = make_two_task_data(ratings, RandomKey(5));
  const TwoTaskData b = make_two_task_data(ratings, RandomKey(5));
  const TwoTaskData c = make_two_task_data(ratings, RandomKey(6));
  CHECK(rows_of(a.train) == rows_of(b.train));
  CHECK(rows_of(a.validation) == rows_of(b.validation));
  CHECK(rows_of(a.test) == rows_of(b.test));
  CHECK(all_rows(a) != all_rows(c));  // other negatives
  CHECK(rows_of(a.test) != rows_of(c.test));
}

TEST_CASE("make_two_task_data: negatives are uniform over the unrated items",
          "[movielens][two_task]") {
  // User 0 rated 4 of 12 items, so each of the other 8 is drawn with probability 1/2.
  const std::vector<std::vector<std::int32_t>> items = {
      {0, 3, 4, 11}, {0, 1, 2, 3}, {4, 5, 6, 7}, {0, 1}};
  const Ratings ratings = ratings_of(items, 12);
  std::vector<int> count(12, 0);
  constexpr int draws = 4000;
  for (std::uint64_t seed = 0; seed < draws; ++seed)
    for (const auto& [user, item, watched, rating] :
         all_rows(make_two_task_data(ratings, RandomKey(seed))))
      if (user == 0 && watched == 0.0F) ++count[static_cast<std::size_t>(item)];
  const double deviation = std::sqrt(draws * 0.25);
  for (const std::size_t item : {1U, 2U, 5U, 6U, 7U, 8U, 9U, 10U}) {
    INFO("item " << item << " drawn " << count[item] << " times");
    CHECK(std::abs(count[item] - draws / 2) < 5 * deviation);
  }
  for (const std::size_t item : {0U, 3U, 4U, 11U}) CHECK(count[item] == 0);
}

TEST_CASE("make_two_task_data: refuses what cannot be split", "[movielens][two_task][error]") {
  CHECK_THROWS_AS(make_two_task_data(ratings_of({{0, 1, 2}}, 5), RandomKey(1)),
                  programs::FileError);
  CHECK_THROWS_WITH(make_two_task_data(ratings_of({{0, 1, 2}}, 5), RandomKey(1)),
                    "toy: one user only, at least 2 are needed");
  const std::string too_few = " unrated pairs are too few to split into train, validation and test";
  CHECK_THROWS_WITH(make_two_task_data(ratings_of({{0, 1}, {0}}, 2), RandomKey(1)),
                    "toy: 3 ratings and 1" + too_few);
  // Both users rated everything: there are no negatives.
  const std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK_THROWS_WITH(make_two_task_data(ratings_of({all, all}, 10), RandomKey(1)),
                    "toy: 20 ratings and 0" + too_few);
}

TEST_CASE("Batches: every row once, the last batch short", "[movielens][batches]") {
  TwoTaskRows rows;
  for (std::int32_t i = 0; i < 23; ++i) {
    rows.user.push_back(i);
    rows.item.push_back(100 + i);
    rows.watched.push_back(i % 2 == 0 ? 1.0F : 0.0F);
    rows.rating.push_back(static_cast<float>(i) / 2);
  }
  programs::movielens::Batches batches(rows, 5);
  REQUIRE(batches.size() == 5);
  const auto users_in_order = [&] {
    std::vector<std::int32_t> users;
    for (std::size_t b = 0; b < batches.size(); ++b) {
      const programs::movielens::Batch batch = batches[b];
      CHECK(batch.size() == (b < 4 ? 5 : 3));
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const std::int32_t user = batch.user[i];
        users.push_back(user);
        CHECK(batch.item[i] == 100 + user);
        CHECK(batch.watched[i] == (user % 2 == 0 ? 1.0F : 0.0F));
        CHECK(batch.rating[i] == static_cast<float>(user) / 2);
      }
    }
    return users;
  };
  CHECK(users_in_order() == rows.user);

  batches.shuffle(RandomKey(1));
  const auto first = users_in_order();
  CHECK(first != rows.user);
  CHECK(std::set<std::int32_t>(first.begin(), first.end()).size() == 23);
  batches.shuffle(RandomKey(2));
  CHECK(users_in_order() != first);
  batches.shuffle(RandomKey(1));  // the order before does not matter
  CHECK(users_in_order() == first);

  CHECK(programs::movielens::Batches(rows, 23).size() == 1);
  CHECK(programs::movielens::Batches(rows, 100).size() == 1);
  CHECK(programs::movielens::Batches(rows, 100)[0].size() == 23);
}
