// SPDX-License-Identifier: MIT
#include <movielens/data/dataset.hpp>

#include <movielens/data/ratings.hpp>

namespace programs::movielens {

std::vector<std::int64_t> Dataset::item_frequency() const {
  std::vector<std::int64_t> frequency(static_cast<std::size_t>(rows.num_items), 0);
  for (const std::int32_t item : rows.train.item) ++frequency[static_cast<std::size_t>(item)];
  return frequency;
}

Dataset load_dataset(const std::filesystem::path& path, const TableOptions& table,
                     comet::RandomKey key) {
  const Ratings ratings = read_ratings(path, table);
  return {.source = source_of(ratings.file),
          .ratings = ratings.size(),
          .rows = make_two_task_data(ratings, key),
          .user_ids = ratings.user_ids,
          .item_ids = ratings.item_ids,
          .notes = ratings.notes,
          .item_column = ratings.item_column};
}

}  // namespace programs::movielens
