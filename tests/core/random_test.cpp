// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include <comet/core/random.hpp>

#include <support/catch.hpp>

using comet::RandomKey;

namespace {

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

std::vector<double> uniforms(RandomKey key, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = key.uniform(i);
  return values;
}

}  // namespace

TEST_CASE("bits are those of SplitMix64", "[random]") {
  // The first outputs of the published generator for seed 0: fixed for ever, on every platform.
  static_assert(RandomKey(0).bits(0) == 0xe220a8397b1dcdafULL);
  CHECK(RandomKey(0).bits(0) == 0xe220a8397b1dcdafULL);
  CHECK(RandomKey(0).bits(1) == 0x6e789e6aa1b965f4ULL);
  CHECK(RandomKey(0).bits(2) == 0x06c45d188009454fULL);
}

TEST_CASE("a value depends on key and counter alone", "[random]") {
  const RandomKey key(7);
  const std::uint64_t last = key.bits(1000);
  for (std::uint64_t c = 1000; c-- > 0;) (void)key.bits(c);
  CHECK(key.bits(1000) == last);
  CHECK(key.fold(3) == RandomKey(7).fold(3));
  CHECK_FALSE(key.fold(3) == key.fold(4));
  CHECK_FALSE(key.fold(0) == key);
}

TEST_CASE("uniform values fill [0, 1) evenly", "[random]") {
  const std::vector<double> values = uniforms(RandomKey(1), 100000);
  CHECK(*std::min_element(values.begin(), values.end()) >= 0.0);
  CHECK(*std::max_element(values.begin(), values.end()) < 1.0);

  std::array<int, 10> histogram{};
  for (const double v : values) ++histogram[static_cast<std::size_t>(v * 10)];
  double chi_square = 0;
  for (const int count : histogram) chi_square += (count - 1e4) * (count - 1e4) / 1e4;
  CHECK(chi_square < 27.9);  // 0.999 quantile, 9 degrees of freedom

  double low = 1, high = 0;
  for (std::uint64_t c = 0; c < 10000; ++c) {
    const double v = RandomKey(2).uniform(c, -0.25, 0.5);
    low = std::min(low, v);
    high = std::max(high, v);
  }
  CHECK(low >= -0.25);
  CHECK(low < -0.249);
  CHECK(high < 0.5);
  CHECK(high > 0.499);
}

TEST_CASE("normal values have the moments of the normal distribution", "[random]") {
  const std::uint64_t count = 100000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (std::uint64_t c = 0; c < count; ++c) {
    const double v = RandomKey(3).normal(c);
    m1 += v;
    m2 += v * v;
    m3 += v * v * v;
    m4 += v * v * v * v;
  }
  const double n = count;
  // Bounds: about four standard errors, sqrt(Var(v^p) / n).
  CHECK(std::abs(m1 / n) < 0.013);
  CHECK(std::abs(m2 / n - 1) < 0.018);
  CHECK(std::abs(m3 / n) < 0.05);
  CHECK(std::abs(m4 / n - 3) < 0.13);
}

TEST_CASE("folded keys are independent of each other and of their parent", "[random]") {
  // Standard error of a correlation over 20000 pairs: 0.007.
  const std::size_t count = 20000;
  const RandomKey root(11);
  const auto parent = uniforms(root, count);
  for (std::uint64_t place = 0; place < 8; ++place) {
    const auto child = uniforms(root.fold(place), count);
    CHECK(std::abs(correlation(parent, child)) < 0.03);
    CHECK(std::abs(correlation(child, uniforms(root.fold(place + 1), count))) < 0.03);
    CHECK(std::abs(correlation(child, uniforms(RandomKey(12).fold(place), count))) < 0.03);
  }

  // A tree of keys (two levels of places) meets no key twice.
  std::set<std::uint64_t> keys;
  for (std::uint64_t a = 0; a < 100; ++a)
    for (std::uint64_t b = 0; b < 100; ++b) keys.insert(root.fold(a).fold(b).value());
  CHECK(keys.size() == 10000);
  CHECK_FALSE(root.fold(1).fold(2) == root.fold(2).fold(1));
}

TEST_CASE("index stays below its bound and reaches every value", "[random]") {
  const RandomKey key(5);
  for (const std::uint64_t bound : {1ULL, 2ULL, 3ULL, 7ULL, 1000ULL}) {
    std::vector<int> seen(bound, 0);
    for (std::uint64_t c = 0; c < 20 * bound; ++c) {
      const std::uint64_t i = key.index(c, bound);
      REQUIRE(i < bound);
      ++seen[i];
    }
    CHECK(std::count(seen.begin(), seen.end(), 0) == 0);
  }
}

TEST_CASE("index is the high half of the 128-bit product", "[random]") {
  const RandomKey key(6);
  const std::uint64_t huge = ~0ULL;
  // floor(r * (2^64 - 1) / 2^64) is r - 1 for every r > 0.
  for (std::uint64_t c = 0; c < 1000; ++c) CHECK(key.index(c, huge) == key.bits(c) - 1);
  // A power of two takes the leading bits.
  for (std::uint64_t c = 0; c < 1000; ++c) CHECK(key.index(c, 1ULL << 40) == key.bits(c) >> 24);
}

TEST_CASE("shuffle is a permutation, the same for the same key", "[random]") {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 0);
  std::vector<int> again = values;
  const std::vector<int> sorted = values;

  RandomKey(8).shuffle(std::span<int>(values));
  RandomKey(8).shuffle(std::span<int>(again));
  CHECK(values == again);
  CHECK(values != sorted);
  CHECK(std::is_permutation(values.begin(), values.end(), sorted.begin()));

  std::vector<int> none;
  RandomKey(8).shuffle(std::span<int>(none));
  std::vector<int> one{42};
  RandomKey(8).shuffle(std::span<int>(one));
  CHECK(one.front() == 42);
}

TEST_CASE("shuffle reaches every order equally often", "[random]") {
  std::array<int, 6> orders{};
  for (std::uint64_t seed = 0; seed < 60000; ++seed) {
    std::array<int, 3> v{0, 1, 2};
    RandomKey(seed).shuffle(std::span<int>(v));
    ++orders[static_cast<std::size_t>(v[0] * 2 + (v[1] > v[2] ? 1 : 0))];
  }
  double chi_square = 0;
  for (const int count : orders) chi_square += (count - 1e4) * (count - 1e4) / 1e4;
  CHECK(chi_square < 20.5);  // 0.999 quantile, 5 degrees of freedom
}

TEST_CASE("fill_uniform counts in storage order", "[random]") {
  comet::Matrix<double> m(3, 4);
  RandomKey(9).fill_uniform(m, -1.0, 1.0);
  for (comet::Index i = 0; i < m.size(); ++i)
    CHECK(m.data()[i] == RandomKey(9).uniform(static_cast<std::uint64_t>(i), -1.0, 1.0));
}
