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

namespace programs::movielens {

/// \brief What a user can be offered.
struct OpenPairs {
  TwoTaskRows rows;          ///< the user with items that the user has not rated
  std::vector<int> ratings;  ///< per row, how many ratings the item has
};

/// \param fewest  ratings that an item must have
[[nodiscard]] OpenPairs open_pairs(const ModelFile& file, std::int32_t user,
                                   const std::string& user_id, const Ratings& ratings, int fewest);

/// By what rows are ranked, of both tasks: the probability of watching times the stars.
[[nodiscard]] double score(const Predictions& predictions, std::size_t row);

/// The rows with the highest scores, at most `count`, best first.
[[nodiscard]] std::vector<std::size_t> best_rows(const Predictions& predictions, int count);

/// The items that are rated most often, at most `count`, and how often.
struct RatedOften {
  std::size_t item = 0;
  int count = 0;
};
[[nodiscard]] std::vector<RatedOften> most_rated(const Ratings& ratings, int count);

}  // namespace programs::movielens
