// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <comet/core/random.hpp>

#include <movielens/data/ratings.hpp>

namespace programs::movielens {

/// \brief Rows of the two tasks: has the user watched the item, and how many stars did it get.
struct TwoTaskRows {
  std::vector<std::int32_t> user;
  std::vector<std::int32_t> item;
  std::vector<float> watched;  ///< 1 for a rating, 0 for a drawn negative
  std::vector<float> rating;   ///< stars, or 0 = not known, to be masked

  [[nodiscard]] std::size_t size() const noexcept { return user.size(); }
};

struct TwoTaskData {
  TwoTaskRows train;
  TwoTaskRows validation;
  TwoTaskRows test;
  std::int32_t num_users = 0;
  std::int32_t num_items = 0;
};

/// \brief The two-task construction of Ibrahim et al. (COMET, KDD 2023, supplement).
///
/// Every rating is a positive. Each user gets as many negatives as ratings, drawn uniformly
/// without replacement from the items the user has not rated; all of them if there are fewer.
/// 10 % of the rows are for test, then 12.5 % of the others for validation; both shares are taken
/// of the positives and of the negatives, so watched is balanced alike in all three.
///
/// \param key  everything drawn is a function of it and of the ratings alone
/// \throws FileError naming ratings.file if there are not at least two users, or if a split would
///         lack positives or negatives
/// \par Cost  O(R log R) for R ratings, also for users who rated nearly everything
[[nodiscard]] TwoTaskData make_two_task_data(const Ratings& ratings, comet::RandomKey key);

}  // namespace programs::movielens
