// SPDX-License-Identifier: MIT
#pragma once

#include <movielens/data/two_task.hpp>
#include <movielens/model/model_options.hpp>
#include <programs/base/figures.hpp>

namespace programs::movielens {

inline constexpr const char* biases_row = "biases";  ///< what tables call it

/// \brief What a model without any network reaches: a constant, a bias per user and a bias per
/// item, for each of the two tasks.
struct BiasFit {
  Figures validation;
  Figures test;
  Index parameters = 0;
};

/// \brief Fits the biases to the training rows: the stars by least squares, "watched" by logistic
/// regression, both with a penalty on squared biases whose strength is the best of seven on the
/// validation rows.
/// \par Cost  some hundred passes over the rows; the same bits always
[[nodiscard]] BiasFit fit_biases(const TwoTaskData& data, const TaskWeights& weights);

}  // namespace programs::movielens
