// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/losses.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("binary cross-entropy is the mean of -t log p - (1 - t) log(1 - p)") {
  const Matrix<double> z = random_matrix<double>(2, 3, 1, -4, 4);
  const Matrix<double> t = random_matrix<double>(2, 3, 2, 0, 1);  // soft targets too
  double expected = 0;
  for (Index i = 0; i < 6; ++i) {
    const double p = 1 / (1 + std::exp(-z.data()[i]));
    expected -= t.data()[i] * std::log(p) + (1 - t.data()[i]) * std::log(1 - p);
  }
  Matrix<double> gradient(2, 3);
  CHECK(binary_cross_entropy(z, t, gradient) == Approx(expected / 6));
}

TEST_CASE("binary cross-entropy's gradient agrees with finite differences", "[gradient]") {
  test::MatrixModel model(random_matrix<double>(1, 9, 1, -3, 3));
  const Matrix<double> t = random_matrix<double>(1, 9, 2, 0, 1);
  Matrix<double> scratch(1, 9);
  const auto result = testing::check_gradients(
      model, [&] { return binary_cross_entropy(model.p, t, scratch); },
      [&](GradientView<double> gradients) { binary_cross_entropy(model.p, t, gradients[0]); });
  CHECK(result.largest_error <= 1e-6);
}

TEMPLATE_TEST_CASE("binary cross-entropy of large logits is finite", "", COMET_TEST_SCALARS) {
  using S = TestType;
  Matrix<S> z(1, 4), t(1, 4), gradient(1, 4);
  z << S(1000), S(-1000), S(1000), S(-1000);
  t << S(1), S(0), S(0), S(1);
  CHECK(binary_cross_entropy(z, t, gradient) == Approx(S(500)));
  Matrix<S> expected(1, 4);
  expected << S(0), S(0), S(0.25), S(-0.25);
  CHECK(gradient == expected);
}

TEST_CASE("binary cross-entropy of no samples is 0") {
  Matrix<double> none(1, 0);
  CHECK(binary_cross_entropy(none, none, none) == 0.0);
}

TEST_CASE("binary cross-entropy refuses wrong shapes and what is not finite") {
  const double nan = std::nan("");
  Matrix<double> z = Matrix<double>::Zero(1, 3), t = z, gradient = z, other(1, 2), tall(2, 3);
  CHECK_THROWS_WITH(binary_cross_entropy(z, other, gradient),
                    "comet::binary_cross_entropy: targets.cols() is 2, expected logits.cols() = 3");
  CHECK_THROWS_WITH(
      binary_cross_entropy(z, t, tall),
      "comet::binary_cross_entropy: gradient.rows() is 2, expected logits.rows() = 1");
  z(0, 1) = nan;
  CHECK_THROWS_WITH(binary_cross_entropy(z, t, gradient),
                    "comet::binary_cross_entropy: logits(0, 1) is nan, expected a finite number");
  z(0, 1) = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(binary_cross_entropy(z, t, gradient),
                    "comet::binary_cross_entropy: logits(0, 1) is -inf, expected a finite number");
  z.setZero();
  z(0, 2) = 1;
  t(0, 2) = nan;
  CHECK_THROWS_WITH(binary_cross_entropy(z, t, gradient),
                    "comet::binary_cross_entropy: targets(0, 2) is nan, expected a finite number");
}

TEST_CASE("binary cross-entropy of many float samples is their mean, and so is its gradient") {
  for (const Index n : {1'000'000, 10'000'000}) {
    const Matrix<float> z = Matrix<float>::Zero(1, n), t = Matrix<float>::Ones(1, n);
    Matrix<float> gradient(1, n);
    CHECK(binary_cross_entropy(z, t, gradient) == Approx(0.693147).margin(1e-6));
    CHECK(double(gradient(0, 0)) * double(n) == Approx(-0.5).epsilon(1e-6));
  }
}

TEST_CASE("binary cross-entropy takes blocks and expressions, and no gradient") {
  const Matrix<float> z = random_matrix<float>(2, 6, 1, -3, 3),
                      t = random_matrix<float>(2, 6, 2, 0, 1);
  Matrix<float> whole(2, 6), part(2, 6), expected(1, 3);
  const double loss = binary_cross_entropy(z, t, whole);
  CHECK(binary_cross_entropy(z, t, no_gradient) == loss);
  CHECK(binary_cross_entropy(2 * z, t, part) ==
        binary_cross_entropy(Matrix<float>(2 * z), t, no_gradient));
  const Matrix<float> z_row = z.row(1).leftCols(3), t_row = t.row(1).leftCols(3);
  binary_cross_entropy(z_row, t_row, expected);
  binary_cross_entropy(z.block(1, 0, 1, 3), t.block(1, 0, 1, 3), part.block(0, 2, 1, 3));
  CHECK(test::same_bits(part.block(0, 2, 1, 3), expected));
}

TEST_CASE("binary cross-entropy refuses targets that are no probabilities") {
  const Matrix<double> z = Matrix<double>::Constant(2, 2, 8);
  Matrix<double> t = Matrix<double>::Ones(2, 2), gradient(2, 2);
  t(1, 0) = 1.4;
  t(0, 1) = -1;
  CHECK_THROWS_AS(binary_cross_entropy(z, t, gradient), std::invalid_argument);
  CHECK_THROWS_WITH(binary_cross_entropy(z, t, gradient),
                    "comet::binary_cross_entropy: targets(1, 0) is 1.4, expected in [0, 1]");
  t(1, 0) = 0;
  CHECK_THROWS_WITH(binary_cross_entropy(z, t, gradient),
                    "comet::binary_cross_entropy: targets(0, 1) is -1, expected in [0, 1]");
  t(0, 1) = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(binary_cross_entropy(z, t, gradient), NotFinite);
}
