// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include <comet/kernels/activation.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

/// The formulas, in long double.
long double value(Activation activation, long double z) {
  if (activation == Activation::silu) return z / (1 + std::exp(-z));
  return z * std::erfc(-z / std::sqrt(2.0L)) / 2;
}

}  // namespace

TEMPLATE_TEST_CASE("smooth activations and their derivatives are the formulas", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const auto activation = GENERATE(Activation::gelu, Activation::silu);
  CHECK(detail::keeps_slope(activation));
  const Index size = 601;
  Vector<S> z = Vector<S>::LinSpaced(size, S(-12), S(12)), y = z, only = z, slope(size);
  detail::activate_smooth(activation, size, y.data(), slope.data());
  detail::activate_smooth(activation, size, only.data(), static_cast<S*>(nullptr));
  CHECK(test::same_bits(y, only));
  const double tolerance = 8 * double(std::numeric_limits<S>::epsilon());
  for (Index i = 0; i < size; ++i) {
    const auto t = static_cast<long double>(z(i)), h = 1e-5L;
    const auto expected = double(value(activation, t));
    CHECK(std::abs(double(y(i)) - expected) <= tolerance * std::max(1.0, std::abs(expected)));
    const auto derivative = double((value(activation, t + h) - value(activation, t - h)) / (2 * h));
    CHECK(std::abs(double(slope(i)) - derivative) <= tolerance + 1e-9);
  }
}

TEMPLATE_TEST_CASE("activations of far away numbers are finite, of nan they are nan", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const auto activation = GENERATE(Activation::gelu, Activation::silu);
  const S nan = std::numeric_limits<S>::quiet_NaN();
  std::vector<S> z{S(-1e4), S(1e4), S(-1e30), S(1e30), S(0), nan}, slope(6);
  detail::activate_smooth(activation, 6, z.data(), slope.data());
  CHECK(std::abs(z[0]) < S(1e-30));
  CHECK(z[1] == S(1e4));
  CHECK(z[3] == S(1e30));
  CHECK(z[4] == S(0));
  CHECK(std::isnan(z[5]));
  CHECK(std::abs(slope[0]) < S(1e-30));
  CHECK(slope[1] == S(1));
  CHECK(slope[3] == S(1));
  CHECK(std::abs(slope[4] - S(0.5)) <= std::numeric_limits<S>::epsilon());
}

TEST_CASE("a value's bits do not depend on where it stands") {
  const auto activation = GENERATE(Activation::gelu, Activation::silu);
  const Matrix<float> z = test::random_matrix<float>(45, 1, 1, -4, 4);
  Matrix<float> whole = z, slope(45, 1);
  detail::activate_smooth(activation, 45, whole.data(), slope.data());
  for (Index i = 0; i < 45; ++i) {
    float alone = z(i, 0), its_slope = 0;
    detail::activate_smooth(activation, 1, &alone, &its_slope);
    CHECK(alone == whole(i, 0));
    CHECK(its_slope == slope(i, 0));
  }
}

// Far out in the lower tail GELU is z Phi(z) with a Phi that has lost no digit, but for those that
// the type has not.
TEMPLATE_TEST_CASE("the normal distribution keeps its digits in the lower tail", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = 40 * double(std::numeric_limits<S>::epsilon());
  for (double at = -8; at <= 0; at += 0.01) {
    S z = S(at);
    const auto expected = double(value(Activation::gelu, static_cast<long double>(z)));
    detail::activate_smooth(Activation::gelu, 1, &z, static_cast<S*>(nullptr));
    CHECK(std::abs(double(z) - expected) <= tolerance * std::abs(expected));
  }
}
