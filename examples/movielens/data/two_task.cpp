// SPDX-License-Identifier: MIT
#include <movielens/data/two_task.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

constexpr double test_share = 0.1;
constexpr double validation_share = 0.125;  // of what is left

// Places below the key.
constexpr int draw_negatives = 0;
constexpr int split_positives = 1;
constexpr int split_negatives = 2;

/// Draws items that a user has not rated.
class NegativeSampler {
 public:
  explicit NegativeSampler(std::int32_t num_items)
      : drawn_(static_cast<std::size_t>(num_items), false) {}

  /// As many as `rated` (increasing) or as there are, increasing; valid until the next call.
  std::span<const std::int32_t> draw(std::span<const std::int32_t> rated, comet::RandomKey key) {
    // Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987): distinct numbers among those of
    // the unrated items, in one draw each, however few are left.
    const std::size_t unrated = drawn_.size() - rated.size();
    const std::size_t wanted = std::min(rated.size(), unrated);
    sample_.clear();
    for (std::size_t last = unrated - wanted; last < unrated; ++last) {
      std::size_t choice = static_cast<std::size_t>(key.index(last, last + 1));
      if (drawn_[choice]) choice = last;
      drawn_[choice] = true;
      sample_.push_back(static_cast<std::int32_t>(choice));
    }
    for (const std::int32_t choice : sample_) drawn_[static_cast<std::size_t>(choice)] = false;

    // Number among the unrated -> item: step over the rated items before it.
    std::sort(sample_.begin(), sample_.end());
    std::size_t passed = 0;
    for (std::int32_t& item : sample_) {
      item += static_cast<std::int32_t>(passed);
      for (; passed < rated.size() && rated[passed] <= item; ++passed) ++item;
    }
    return sample_;
  }

 private:
  std::vector<bool> drawn_;
  std::vector<std::int32_t> sample_;
};

void append(TwoTaskRows& rows, const TwoTaskRows& from, std::size_t i) {
  rows.user.push_back(from.user[i]);
  rows.item.push_back(from.item[i]);
  rows.watched.push_back(from.watched[i]);
  rows.rating.push_back(from.rating[i]);
}

TwoTaskRows positives_of(const Ratings& ratings) {
  TwoTaskRows rows;
  rows.item = ratings.item;
  rows.rating = ratings.value;
  rows.watched.assign(ratings.size(), 1.0F);
  rows.user.reserve(ratings.size());
  for (std::int32_t user = 0; user < ratings.num_users(); ++user)
    rows.user.insert(rows.user.end(), ratings.items_of(user).size(), user);
  return rows;
}

TwoTaskRows negatives_of(const Ratings& ratings, comet::RandomKey key) {
  TwoTaskRows rows;
  NegativeSampler sampler(ratings.num_items());
  for (std::int32_t user = 0; user < ratings.num_users(); ++user) {
    const auto items =
        sampler.draw(ratings.items_of(user), key.fold(static_cast<std::uint64_t>(user)));
    rows.user.insert(rows.user.end(), items.size(), user);
    rows.item.insert(rows.item.end(), items.begin(), items.end());
  }
  rows.watched.assign(rows.user.size(), 0.0F);
  rows.rating.assign(rows.user.size(), 0.0F);
  return rows;
}

std::size_t share_of(double share, std::size_t total) {
  return static_cast<std::size_t>(std::lround(share * static_cast<double>(total)));
}

/// Deals rows of one class out to the three splits.
void split(const TwoTaskRows& rows, comet::RandomKey key, TwoTaskData& data) {
  std::vector<std::uint32_t> order(rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  key.shuffle(std::span(order));
  const std::size_t test_end = share_of(test_share, rows.size());
  const std::size_t validation_end = test_end + share_of(validation_share, rows.size() - test_end);
  for (std::size_t i = 0; i < order.size(); ++i)
    append(i < test_end         ? data.test
           : i < validation_end ? data.validation
                                : data.train,
           rows, order[i]);
}

}  // namespace

TwoTaskData make_two_task_data(const Ratings& ratings, comet::RandomKey key) {
  if (ratings.num_users() < 2)
    throw FileError(ratings.file, "one user only, at least 2 are needed");
  const TwoTaskRows positives = positives_of(ratings);
  const TwoTaskRows negatives = negatives_of(ratings, key.fold(draw_negatives));
  TwoTaskData data;
  data.num_users = ratings.num_users();
  data.num_items = ratings.num_items();
  split(positives, key.fold(split_positives), data);
  split(negatives, key.fold(split_negatives), data);
  for (const TwoTaskRows* rows : {&data.train, &data.validation, &data.test}) {
    const auto watched = std::count(rows->watched.begin(), rows->watched.end(), 1.0F);
    if (watched == 0 || watched == static_cast<std::ptrdiff_t>(rows->size()))
      throw FileError(ratings.file,
                      std::to_string(positives.size()) + " ratings and " +
                          std::to_string(negatives.size()) +
                          " unrated pairs are too few to split into train, validation and test");
  }
  return data;
}

}  // namespace programs::movielens
