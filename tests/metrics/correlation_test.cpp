// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/metrics/correlation.hpp>

#include <support/catch.hpp>

namespace {

using Series = std::vector<double>;

double pearson(const Series& x, const Series& y) {
  return comet::pearson_correlation(std::span(x), std::span(y));
}
double spearman(const Series& x, const Series& y) {
  return comet::spearman_correlation(std::span(x), std::span(y));
}

}  // namespace

TEST_CASE("correlation: values worked out by hand") {
  // Differences from the means: -1.5 -.5 .5 1.5 and -.5 -1.5 1.5 .5; products .75 each, squares 5.
  CHECK(pearson({1, 2, 3, 4}, {2, 1, 4, 3}) == Approx(0.6));
  CHECK(spearman({1, 20, 300, 4000}, {2, 1, 9, 3}) == Approx(0.6));
  // Ranks 1 2.5 2.5 4 and 1 2 3 4: products 4.5, squares 4.5 and 5.
  CHECK(spearman({-1, 2, 2, 3}, {0.1, 0.2, 0.3, 0.4}) == Approx(4.5 / std::sqrt(4.5 * 5)));
  // Ranks 2 2 2 4 and 1.5 1.5 3.5 3.5: products .5 .5 -.5 1.5, squares 3 and 4.
  CHECK(spearman({5, 5, 5, 6}, {1, 1, 2, 2}) == Approx(2 / std::sqrt(3.0 * 4)));
}

TEST_CASE("correlation: on a line, on a curve, turned round") {
  const Series x = {0.5, -1, 3, 2, 8}, line = {2, -1, 7, 5, 17}, cubes = {0.125, -1, 27, 8, 512};
  const Series down = {-2, 1, -7, -5, -17};
  CHECK(pearson(x, line) == Approx(1));
  CHECK(pearson(x, down) == Approx(-1));
  CHECK(pearson(x, line) <= 1);
  CHECK(pearson(x, cubes) < 0.95);
  CHECK(spearman(x, cubes) == Approx(1));
  CHECK(spearman(x, down) == Approx(-1));
}

TEST_CASE("correlation: scale and place do not matter, however large or small") {
  const comet::RandomKey key(5);
  Series x, y;
  for (std::uint64_t i = 0; i < 100; ++i) {
    x.push_back(key.uniform(2 * i));
    y.push_back(x.back() + key.uniform(2 * i + 1));
  }
  const double expected = pearson(x, y);
  CHECK(expected == Approx(0.7).margin(0.1));  // of x and x + another such: sqrt(1/2)
  for (const double scale : {1e-200, 1e-9, 1e9, 1e306}) {
    Series scaled = x;
    for (double& value : scaled) value = scale * (value - 0.5);
    CHECK(pearson(scaled, y) == Approx(expected));
    CHECK(spearman(scaled, y) == Approx(spearman(x, y)));
  }
  const double largest = std::numeric_limits<double>::max();
  CHECK(pearson({-largest, largest}, {0, 1}) == Approx(1));
  const double next = std::nextafter(0.1, 1);
  CHECK(pearson({0.1, 0.1, next}, {0, 0, 1}) == Approx(1));
}

TEST_CASE("correlation: a constant tells nothing, also where its mean is rounded") {
  const Series same(7, 0.1), x = {1, 2, 3, 4, 5, 6, 7};
  CHECK(pearson(same, x) == 0);
  CHECK(pearson(x, same) == 0);
  CHECK(pearson(same, same) == 0);
  CHECK(spearman(same, x) == 0);
  CHECK(pearson({3}, {4}) == 0);
  const std::vector<float> a = {1, 2}, b = {2, 2};
  CHECK(comet::spearman_correlation(std::span<const float>(a), std::span<const float>(b)) == 0);
}

TEST_CASE("correlation refuses other sizes, none at all, and what is not finite") {
  CHECK_THROWS_WITH(pearson({1, 2}, {1}),
                    "comet::pearson_correlation: y.size() is 1, expected x.size() = 2");
  CHECK_THROWS_WITH(pearson({}, {}),
                    "comet::pearson_correlation: x.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(spearman({1, 2}, {1, std::nan("")}),
                    "comet::spearman_correlation: y[1] is nan, expected a finite number");
  CHECK_THROWS_WITH(spearman({HUGE_VAL, 2}, {1, 2}),
                    "comet::spearman_correlation: x[0] is inf, expected a finite number");
}
