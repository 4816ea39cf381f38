// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/metrics/calibration.hpp>

#include <support/catch.hpp>

using comet::calibration;
using comet::CalibrationBin;

namespace {

std::vector<CalibrationBin> of(const std::vector<double>& probabilities,
                               const std::vector<int>& labels, comet::Index bins) {
  return calibration(std::span<const double>(probabilities), std::span<const int>(labels), bins);
}

}  // namespace

TEST_CASE("calibration: parts of equal size in ascending order of the predictions") {
  const auto bins = of({0.9, 0.1, 0.5, 0.2, 0.7}, {1, 0, 1, 1, 0}, 2);
  REQUIRE(bins.size() == 2);
  CHECK(bins[0].count == 2);
  CHECK(bins[0].predicted == Approx(0.15));
  CHECK(bins[0].observed == Approx(0.5));
  CHECK(bins[1].count == 3);
  CHECK(bins[1].predicted == Approx(0.7));
  CHECK(bins[1].observed == Approx(2.0 / 3));
  // Never an empty part.
  CHECK(of({0.5, 0.25}, {1, 0}, 10).size() == 2);
  CHECK(of({}, {}, 10).empty());
}

TEST_CASE("calibration: events that have their probabilities are on the diagonal") {
  const comet::RandomKey key(3);
  std::vector<double> probabilities;
  std::vector<int> labels;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    probabilities.push_back(key.uniform(2 * i));
    labels.push_back(key.uniform(2 * i + 1) < probabilities.back() ? 1 : 0);
  }
  for (const CalibrationBin& bin : of(probabilities, labels, 10)) {
    CHECK(bin.count == 2000);
    // Five standard errors of a share of 2000.
    CHECK(std::abs(bin.predicted - bin.observed) < 5 * std::sqrt(0.25 / 2000));
  }
}

TEST_CASE("calibration refuses what is no probability and no label") {
  CHECK_THROWS_WITH(of({0.5}, {1, 0}, 2),
                    "comet::calibration: labels.size() is 2, expected probabilities.size() = 1");
  CHECK_THROWS_WITH(of({1.5}, {1}, 2),
                    "comet::calibration: probabilities[0] is 1.5, expected in [0, 1]");
  CHECK_THROWS_WITH(of({0.5, std::nan("")}, {1, 1}, 2),
                    "comet::calibration: probabilities[1] is nan, expected in [0, 1]");
  CHECK_THROWS_WITH(of({0.5}, {2}, 2), "comet::calibration: labels[0] is 2, expected 0 or 1");
  CHECK_THROWS_WITH(of({0.5}, {1}, 0), "comet::calibration: bins is 0, expected at least 1");
}

TEST_CASE("calibration_error: the mean distance, a bin as heavy as its samples") {
  const std::vector<CalibrationBin> bins = {{.count = 3, .predicted = 0.2, .observed = 0.5},
                                            {.count = 1, .predicted = 0.9, .observed = 0.8}};
  CHECK(comet::calibration_error(bins) == Approx((3 * 0.3 + 0.1) / 4));
  CHECK(comet::calibration_error({}) == 0);
}
