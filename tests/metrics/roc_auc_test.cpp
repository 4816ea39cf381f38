// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/metrics/roc_auc.hpp>

#include <support/catch.hpp>

namespace {

template <class S, class Label>
double auc(const std::vector<S>& scores, const std::vector<Label>& labels) {
  return comet::roc_auc(std::span<const S>(scores), std::span<const Label>(labels));
}

/// The definition: every (positive, negative) pair, one point for a win, half for a tie.
template <class S>
double auc_by_pairs(const std::vector<S>& scores, const std::vector<float>& labels) {
  double points = 0;
  double pairs = 0;
  for (std::size_t p = 0; p < scores.size(); ++p)
    for (std::size_t n = 0; n < scores.size(); ++n) {
      if (labels[p] != 1.0F || labels[n] != 0.0F) continue;
      pairs += 1;
      points += scores[p] > scores[n] ? 1.0 : scores[p] == scores[n] ? 0.5 : 0.0;
    }
  return points / pairs;
}

}  // namespace

TEST_CASE("roc_auc: small cases by hand", "[metrics][roc_auc]") {
  CHECK(auc<double, int>({0.1, 0.4, 0.35, 0.8}, {0, 0, 1, 1}) == 0.75);
  CHECK(auc<double, int>({1, 2, 3, 4}, {0, 0, 1, 1}) == 1.0);
  CHECK(auc<double, int>({1, 2, 3, 4}, {1, 1, 0, 0}) == 0.0);
  CHECK(auc<double, int>({7, 7, 7}, {1, 0, 0}) == 0.5);
  CHECK(auc<double, int>({1, 2, 2, 3}, {0, 0, 1, 1}) == 0.875);
}

TEMPLATE_TEST_CASE("roc_auc: equals the count over all pairs, ties included", "[metrics][roc_auc]",
                   COMET_TEST_SCALARS) {
  // Few distinct values make many ties, many make few.
  for (const std::uint64_t distinct : {1U, 2U, 5U, 50U, 1000000U})
    for (const std::size_t size : {2U, 3U, 17U, 200U}) {
      const comet::RandomKey key = comet::RandomKey(42).fold(distinct).fold(size);
      std::vector<TestType> scores(size);
      std::vector<float> labels(size);
      for (std::size_t i = 0; i < size; ++i) {
        scores[i] = static_cast<TestType>(key.fold(0).index(i, distinct)) - TestType(3);
        labels[i] = key.fold(1).uniform(i) < 0.3 ? 1.0F : 0.0F;
      }
      labels[0] = 1;
      labels[1] = 0;
      INFO("distinct " << distinct << ", size " << size);
      CHECK(auc(scores, labels) == Approx(auc_by_pairs(scores, labels)).epsilon(1e-14));
    }
}

TEST_CASE("roc_auc: infinite scores are ordered", "[metrics][roc_auc]") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(auc<double, int>({-inf, 0, inf}, {0, 1, 1}) == 1.0);
  CHECK(auc<double, int>({inf, inf}, {0, 1}) == 0.5);
}

TEST_CASE("roc_auc: refuses what has no area", "[metrics][roc_auc][error]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH((auc<double, int>({0.5, nan}, {0, 1})),
                    "comet::roc_auc: scores[1] is nan, expected a number");
  CHECK_THROWS_WITH((auc<double, int>({0.5, 1}, {0, 2})),
                    "comet::roc_auc: labels[1] is 2, expected 0 or 1");
  CHECK_THROWS_WITH((auc<double, float>({0.5, 1}, {0, std::nanf("")})),
                    "comet::roc_auc: labels[1] is nan, expected 0 or 1");
  CHECK_THROWS_WITH((auc<double, int>({0.5}, {0, 1})),
                    "comet::roc_auc: labels.size() is 2, expected scores.size() = 1");
  CHECK_THROWS_AS((auc<double, int>({1, 2}, {1, 1})), std::invalid_argument);
  CHECK_THROWS_AS((auc<double, int>({1, 2}, {0, 0})), std::invalid_argument);
  CHECK_THROWS_AS((auc<double, int>({}, {})), std::invalid_argument);
}
