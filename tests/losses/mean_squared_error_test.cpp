// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <comet/losses/mean_squared_error.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/losses.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("mean squared error counts what is observed") {
  Matrix<double> p(1, 4), t(1, 4), observed(1, 4), gradient(1, 4), expected(1, 4);
  p << 1, 2, 3, 4;
  t << 2, 2, 100, 1;
  observed << 1, 1, 0, 1;
  CHECK(mean_squared_error(p, t, observed, gradient) == Approx((1.0 + 0 + 9) / 3));
  expected << -2.0 / 3, 0, 0, 2;
  CHECK(gradient.isApprox(expected));
}

TEST_CASE("mean squared error's gradient agrees with finite differences", "[gradient]") {
  test::MatrixModel model(random_matrix<double>(2, 5, 1, -3, 3));
  const Matrix<double> t = random_matrix<double>(2, 5, 2);
  const Matrix<double> observed =
      (random_matrix<double>(2, 5, 3).array() > 0).cast<double>().matrix();
  Matrix<double> scratch(2, 5);
  const auto result = testing::check_gradients(
      model, [&] { return mean_squared_error(model.p, t, observed, scratch); },
      [&](GradientView<double> gradients) {
        mean_squared_error(model.p, t, observed, gradients[0]);
      });
  CHECK(result.largest_error <= 1e-6);
}

TEST_CASE("mean squared error of nothing is 0, with gradient 0") {
  Matrix<double> none(1, 0);
  CHECK(mean_squared_error(none, none, none, none) == 0.0);
  const Matrix<double> p = Matrix<double>::Ones(1, 3), masked = Matrix<double>::Zero(1, 3);
  Matrix<double> gradient = Matrix<double>::Ones(1, 3);
  CHECK(mean_squared_error(p, p, masked, gradient) == 0.0);
  CHECK(gradient.isZero(0));
}

TEST_CASE("a masked value may be anything, a counted one may not") {
  const double nan = std::nan("");
  Matrix<double> p = Matrix<double>::Zero(1, 3), t = p, observed = Matrix<double>::Ones(1, 3);
  Matrix<double> gradient(1, 3);
  t(0, 1) = nan;
  CHECK_THROWS_WITH(mean_squared_error(p, t, observed, gradient),
                    "comet::mean_squared_error: targets(0, 1) is nan, expected a finite number");
  p(0, 2) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(
      mean_squared_error(p, t, observed, gradient),
      "comet::mean_squared_error: predictions(0, 2) is inf, expected a finite number");
  observed << 1, 0, 0;
  CHECK(mean_squared_error(p, t, observed, gradient) == 0.0);
  CHECK(gradient.isZero(0));
  p.setConstant(1e200);
  t.setZero();
  CHECK_THROWS_WITH(mean_squared_error(p, t, observed, gradient),
                    "comet::mean_squared_error: the loss overflows");
  CHECK_THROWS_AS(mean_squared_error(p, t, observed, gradient), NotFinite);
}

TEST_CASE("mean squared error refuses wrong shapes") {
  Matrix<double> p = Matrix<double>::Zero(1, 3), gradient = p, other = Matrix<double>::Zero(1, 2),
                 tall = Matrix<double>::Zero(2, 3);
  CHECK_THROWS_WITH(
      mean_squared_error(p, other, p, gradient),
      "comet::mean_squared_error: targets.cols() is 2, expected predictions.cols() = 3");
  CHECK_THROWS_WITH(
      mean_squared_error(p, p, tall, gradient),
      "comet::mean_squared_error: observed.rows() is 2, expected predictions.rows() = 1");
  CHECK_THROWS_WITH(
      mean_squared_error(p, p, p, other),
      "comet::mean_squared_error: gradient.cols() is 2, expected predictions.cols() = 3");
}

TEST_CASE("a mask is of zeros and ones") {
  const Matrix<double> p = random_matrix<double>(2, 3, 1), t = random_matrix<double>(2, 3, 2);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [value, text] :
       {std::pair(0.5, "0.5"), std::pair(-1.0, "-1"), std::pair(2.0, "2"),
        std::pair(std::nan(""), "nan"), std::pair(infinity, "inf")}) {
    Matrix<double> observed = Matrix<double>::Ones(2, 3);
    observed(1, 2) = value;
    CHECK_THROWS_WITH(
        mean_squared_error(p, t, observed, no_gradient),
        "comet::mean_squared_error: observed(1, 2) is " + std::string(text) + ", expected 0 or 1");
  }
}

TEST_CASE("without a mask every element counts") {
  const Matrix<double> p = random_matrix<double>(2, 5, 1, -3, 3),
                       t = random_matrix<double>(2, 5, 2);
  Matrix<double> gradient(2, 5), expected(2, 5);
  const double loss = mean_squared_error(p, t, gradient);
  CHECK(loss == mean_squared_error(p, t, Matrix<double>::Ones(2, 5), expected));
  CHECK(test::same_bits(gradient, expected));
  CHECK(mean_squared_error(p, t, no_gradient) == loss);
  CHECK(mean_squared_error(p, t, Matrix<double>::Ones(2, 5), no_gradient) == loss);
  CHECK(mean_squared_error(p.leftCols(2), t.leftCols(2), gradient.rightCols(2)) ==
        mean_squared_error(Matrix<double>(p.leftCols(2)), t.leftCols(2), no_gradient));
  CHECK(mean_squared_error(p - t, Matrix<double>::Zero(2, 5), no_gradient) ==
        Approx(loss).epsilon(1e-14));
}

TEST_CASE("mean squared error of many float samples is their mean, and so is its gradient") {
  for (const Index n : {1'000'000, 20'000'000}) {
    const Matrix<float> p = Matrix<float>::Constant(1, n, 0.1F), t = Matrix<float>::Zero(1, n);
    Matrix<float> gradient(1, n);
    CHECK(mean_squared_error(p, t, gradient) == Approx(0.01).epsilon(1e-6));
    CHECK(double(gradient(0, 0)) * double(n) == Approx(0.2).epsilon(1e-6));
  }
}
