// SPDX-License-Identifier: MIT
#include <movielens/model/biases.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/metrics/roc_auc.hpp>

namespace programs::movielens {
namespace {

using comet::Matrix;

constexpr double strengths[] = {0.5, 1, 2, 4, 8, 16, 32};
constexpr int sweeps = 20;

/// A constant, and what users and items add to it.
struct Biases {
  double constant = 0;
  std::vector<double> user;
  std::vector<double> item;

  [[nodiscard]] double at(const TwoTaskRows& rows, std::size_t row) const {
    return constant + user[std::size_t(rows.user[row])] + item[std::size_t(rows.item[row])];
  }
  [[nodiscard]] Matrix<double> predict(const TwoTaskRows& rows) const {
    Matrix<double> predictions(1, Index(rows.size()));
    for (std::size_t row = 0; row < rows.size(); ++row) predictions(0, Index(row)) = at(rows, row);
    return predictions;
  }
};

/// Slope and curvature of a row's loss by its prediction.
struct Slope {
  double first = 0;
  double second = 0;
};

Slope of_watched(const TwoTaskRows& rows, std::size_t row, double prediction) {
  const double p = comet::sigmoid(prediction);
  return {p - double(rows.watched[row]), p * (1 - p)};
}

Slope of_rating(const TwoTaskRows& rows, std::size_t row, double prediction) {
  if (rows.watched[row] == 0) return {};
  return {prediction - double(rows.rating[row]), 1};
}

/// \brief One Newton step for every bias of a kind. Rows of different users share none of them, so
/// the steps do not disturb each other.
template <class SlopeOf>
void improve(std::vector<double>& biases, std::span<const std::int32_t> owner,
             const TwoTaskRows& rows, const Biases& all, double strength, SlopeOf slope_of) {
  std::vector<Slope> sum(biases.size());
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const Slope slope = slope_of(rows, row, all.at(rows, row));
    sum[std::size_t(owner[row])].first += slope.first;
    sum[std::size_t(owner[row])].second += slope.second;
  }
  for (std::size_t i = 0; i < biases.size(); ++i)
    biases[i] -= (sum[i].first + strength * biases[i]) / (sum[i].second + strength);
}

template <class SlopeOf>
Biases fit(const TwoTaskData& data, double strength, SlopeOf slope_of) {
  Biases biases{.user = std::vector<double>(std::size_t(data.num_users), 0),
                .item = std::vector<double>(std::size_t(data.num_items), 0)};
  const TwoTaskRows& rows = data.train;
  const std::vector<std::int32_t> everyone(rows.size(), 0);
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    std::vector<double> constant = {biases.constant};
    improve(constant, everyone, rows, biases, 0, slope_of);
    biases.constant = constant.front();
    improve(biases.user, rows.user, rows, biases, strength, slope_of);
    improve(biases.item, rows.item, rows, biases, strength, slope_of);
  }
  return biases;
}

double watched_loss(const Biases& biases, const TwoTaskRows& rows) {
  return comet::binary_cross_entropy(
      biases.predict(rows),
      Matrix<double>(Eigen::Map<const Matrix<float>>(rows.watched.data(), 1, Index(rows.size()))
                         .cast<double>()),
      comet::no_gradient);
}

double rating_loss(const Biases& biases, const TwoTaskRows& rows) {
  const auto row_of = [&](const std::vector<float>& values) {
    return Matrix<double>(
        Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size())).cast<double>());
  };
  return comet::mean_squared_error(biases.predict(rows), row_of(rows.rating), row_of(rows.watched),
                                   comet::no_gradient);
}

/// With the strength that is best on the validation rows.
template <class SlopeOf, class LossOf>
Biases best_fit(const TwoTaskData& data, SlopeOf slope_of, LossOf loss_of) {
  Biases best;
  double least = std::numeric_limits<double>::infinity();
  for (const double strength : strengths) {
    Biases biases = fit(data, strength, slope_of);
    const double loss = loss_of(biases, data.validation);
    if (loss < least) {
      least = loss;
      best = std::move(biases);
    }
  }
  return best;
}

Figures figures_of(const Biases& watched, const Biases& rating, const TwoTaskRows& rows,
                   const TaskWeights& weights) {
  const Matrix<double> logits = watched.predict(rows);
  const double bce = watched_loss(watched, rows);
  const double mse = rating_loss(rating, rows);
  const double auc = comet::roc_auc(std::span<const double>(logits.data(), rows.size()),
                                    std::span<const float>(rows.watched));
  Figures figures;
  figures.loss = weights.watched * bce + weights.rating * mse;
  figures.measures = {{.name = "bce", .value = bce},
                      {.name = "auc", .value = auc, .is_headline = true},
                      {.name = "mse", .value = mse, .is_headline = true}};
  return figures;
}

}  // namespace

BiasFit fit_biases(const TwoTaskData& data, const TaskWeights& weights) {
  const Biases watched = best_fit(data, of_watched, watched_loss);
  const Biases rating = best_fit(data, of_rating, rating_loss);
  return {.validation = figures_of(watched, rating, data.validation, weights),
          .test = figures_of(watched, rating, data.test, weights),
          .parameters = 2 * (1 + Index(data.num_users) + Index(data.num_items))};
}

}  // namespace programs::movielens
