// SPDX-License-Identifier: MIT
#include <movielens/model/dataset.hpp>

#include <movielens/base/places.hpp>
#include <movielens/data/ratings.hpp>

namespace movielens {

Json Dataset::counts() const {
  return {{"ratings", ratings}, {"users", rows.num_users}, {"items", rows.num_items}};
}

Json Dataset::row_counts() const {
  return {{"train", rows.train.size()},
          {"validation", rows.validation.size()},
          {"test", rows.test.size()}};
}

std::vector<std::int64_t> Dataset::item_frequency() const {
  std::vector<std::int64_t> frequency(static_cast<std::size_t>(rows.num_items), 0);
  for (const std::int32_t item : rows.train.item) ++frequency[static_cast<std::size_t>(item)];
  return frequency;
}

Dataset load(const TrainOptions& options) {
  const Ratings ratings = read_ratings(options.data, options.columns);
  const auto seed = static_cast<std::uint64_t>(options.split_seed.value_or(options.seed));
  return {.source = source_of(ratings.file),
          .ratings = ratings.size(),
          .rows = make_two_task_data(ratings, comet::RandomKey(seed).fold(places::data)),
          .user_ids = ratings.user_ids,
          .item_ids = ratings.item_ids};
}

}  // namespace movielens
