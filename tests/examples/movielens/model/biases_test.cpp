// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <comet/core/random.hpp>

#include <movielens/data/two_task.hpp>
#include <movielens/model/biases.hpp>

#include <support/catch.hpp>

using programs::movielens::BiasFit;
using programs::movielens::fit_biases;
using programs::movielens::TwoTaskData;
using programs::movielens::TwoTaskRows;

namespace {

constexpr int users = 30, items = 20;

double bias_of(int owner, int count) { return 2.0 * owner / (count - 1) - 1; }

/// Rows of a world that is nothing but biases, and some noise of the stars.
TwoTaskRows rows_of(comet::RandomKey key, double noise) {
  TwoTaskRows rows;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    const auto u = std::int32_t(key.fold(0).uniform(i) * users);
    const auto v = std::int32_t(key.fold(1).uniform(i) * items);
    const double sum = bias_of(u, users) + 2 * bias_of(v, items);
    const bool watched = key.fold(2).uniform(i) < 1 / (1 + std::exp(-sum));
    rows.user.push_back(u);
    rows.item.push_back(v);
    rows.watched.push_back(watched ? 1.0F : 0.0F);
    rows.rating.push_back(watched ? static_cast<float>(3 + sum / 2 + noise * key.fold(3).normal(i))
                                  : 0.0F);
  }
  return rows;
}

TwoTaskData data_of(std::uint64_t seed, double noise) {
  const comet::RandomKey key(seed);
  return {.train = rows_of(key.fold(0), noise),
          .validation = rows_of(key.fold(1), noise),
          .test = rows_of(key.fold(2), noise),
          .num_users = users,
          .num_items = items};
}

/// Of the truth itself.
double best_cross_entropy(const TwoTaskRows& rows) {
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double z = bias_of(rows.user[i], users) + 2 * bias_of(rows.item[i], items);
    sum += std::log1p(std::exp(rows.watched[i] == 1.0F ? -z : z));
  }
  return sum / double(rows.size());
}

}  // namespace

TEST_CASE("biases: what is nothing but biases is found", "[movielens][biases]") {
  const TwoTaskData exact = data_of(1, 0);
  const BiasFit fit = fit_biases(exact, {});
  CHECK(fit.test.measure("mse") < 1e-4);
  CHECK(fit.parameters == 2 * (1 + users + items));

  const double noise = 0.5;
  const TwoTaskData noisy = data_of(2, noise);
  const BiasFit of_noisy = fit_biases(noisy, {.watched = 0.25, .rating = 0.75});
  CHECK(of_noisy.test.measure("mse") == Approx(noise * noise).epsilon(0.06));
  const double best = best_cross_entropy(noisy.test);
  CHECK(of_noisy.test.measure("bce") > best - 0.005);
  CHECK(of_noisy.test.measure("bce") < best + 0.01);
  CHECK(of_noisy.test.loss ==
        Approx(0.25 * of_noisy.test.measure("bce") + 0.75 * of_noisy.test.measure("mse")));
  CHECK(of_noisy.validation.loss != of_noisy.test.loss);
}
