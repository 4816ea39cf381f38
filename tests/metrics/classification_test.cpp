// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/metrics/classification.hpp>

#include <support/catch.hpp>

using comet::BinaryCounts;

namespace {

using Labels = std::vector<std::int32_t>;

double accuracy_of(const Labels& predicted, const Labels& labels) {
  return comet::accuracy(std::span(predicted), std::span(labels));
}

BinaryCounts counts_of(const Labels& predicted, const Labels& labels) {
  return comet::binary_counts(std::span(predicted), std::span(labels));
}

}  // namespace

TEST_CASE("classification: counts, and what follows from them, worked out by hand") {
  //                 6 right of 8 that are 1,  1 wrong of 4 that are 0
  const Labels predicted = {1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0};
  const Labels labels = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0};
  const BinaryCounts counts = counts_of(predicted, labels);
  CHECK(counts.true_positives == 6);
  CHECK(counts.false_negatives == 2);
  CHECK(counts.false_positives == 1);
  CHECK(counts.true_negatives == 3);
  CHECK(accuracy_of(predicted, labels) == 0.75);
  CHECK(comet::f1_score(counts) == Approx(2 * 6.0 / (2 * 6 + 1 + 2)));
  CHECK(comet::matthews_correlation(counts) ==
        Approx((6 * 3 - 1 * 2) / std::sqrt(7.0 * 8 * 4 * 5)));
}

TEST_CASE("classification: all right, all wrong, and the same exchanged") {
  const Labels labels = {0, 1, 1, 0, 1}, others = {1, 0, 0, 1, 0};
  CHECK(comet::matthews_correlation(counts_of(labels, labels)) == Approx(1));
  CHECK(comet::matthews_correlation(counts_of(others, labels)) == Approx(-1));
  CHECK(comet::f1_score(counts_of(labels, labels)) == 1);
  CHECK(comet::f1_score(counts_of(others, labels)) == 0);
  CHECK(accuracy_of(others, labels) == 0);
  CHECK(accuracy_of({2, 0, 7, 7}, {2, 1, 7, 0}) == 0.5);  // of any number of classes
}

TEST_CASE("classification: no rounding takes a correlation beyond 1") {
  for (std::ptrdiff_t ones = 1; ones < 40; ++ones)
    for (std::ptrdiff_t zeros = 1; zeros < 40; ++zeros) {
      CHECK(comet::matthews_correlation({.true_positives = ones, .true_negatives = zeros}) <= 1);
      CHECK(comet::matthews_correlation({.false_positives = zeros, .false_negatives = ones}) >= -1);
    }
}

TEST_CASE("classification: one answer to everything") {
  const Labels labels = {1, 1, 0, 1}, ones = {1, 1, 1, 1}, zeros = {0, 0, 0, 0};
  CHECK(comet::matthews_correlation(counts_of(ones, labels)) == 0);
  CHECK(comet::matthews_correlation(counts_of(zeros, labels)) == 0);
  CHECK(comet::matthews_correlation(counts_of(labels, ones)) == 0);
  CHECK(comet::f1_score(counts_of(ones, labels)) == Approx(6.0 / 7));
  CHECK(comet::f1_score(counts_of(zeros, labels)) == 0);
  CHECK(comet::f1_score(counts_of(zeros, zeros)) == 0);  // class 1 neither was nor was said
  CHECK(accuracy_of(zeros, zeros) == 1);
}

TEST_CASE("classification: large counts") {
  const BinaryCounts counts = {.true_positives = 3'000'000'000'000'000,
                               .false_positives = 1'000'000'000'000'000,
                               .false_negatives = 1'000'000'000'000'000,
                               .true_negatives = 3'000'000'000'000'000};
  CHECK(comet::matthews_correlation(counts) == Approx(0.5));
}

TEST_CASE("classification refuses other sizes, none at all, and classes that are no answers") {
  CHECK_THROWS_WITH(accuracy_of({1, 0}, {1}),
                    "comet::accuracy: predicted.size() is 2, expected labels.size() = 1");
  CHECK_THROWS_WITH(accuracy_of({}, {}),
                    "comet::accuracy: labels.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(counts_of({}, {}),
                    "comet::binary_counts: labels.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(counts_of({0, 2}, {0, 1}),
                    "comet::binary_counts: predicted[1] is 2, expected 0 or 1");
  CHECK_THROWS_WITH(counts_of({0, 1}, {-1, 1}),
                    "comet::binary_counts: labels[0] is -1, expected 0 or 1");
}
