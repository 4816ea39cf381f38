// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <movielens/data/ratings.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/predictor.hpp>

namespace movielens {

/// The pairs of a user with all items that the user has not rated.
[[nodiscard]] TwoTaskRows open_pairs(const ModelFile& file, std::int32_t user,
                                     const std::string& user_id, const Ratings& ratings);

/// The rows with most stars, at most `count`, best first.
[[nodiscard]] std::vector<std::size_t> best_rows(const Predictions& predictions, int count);

/// The items that are rated most often, at most `count`, and how often.
struct RatedOften {
  std::size_t item = 0;
  int count = 0;
};
[[nodiscard]] std::vector<RatedOften> most_rated(const Ratings& ratings, int count);

}  // namespace movielens
