// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>

#include <comet/layers/dropout.hpp>
#include <support/model.hpp>

using comet::Dropout;
using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::RandomKey;

TEST_CASE("dropout keeps its rate and the mean") {
  const Dropout<double> dropout(0.3);
  Pass pass(dropout);
  const Matrix<double> x = Matrix<double>::Ones(200, 500);
  Matrix<double> y(200, 500);
  dropout.forward(x, y, RandomKey(1), pass);
  const double dropped = double((y.array() == 0).count()) / double(y.size());
  CHECK(dropped == Approx(0.3).margin(0.006));  // 4 standard deviations
  CHECK(y.maxCoeff() == Approx(1 / 0.7).epsilon(1e-4));
  CHECK(y.mean() == Approx(1).margin(0.01));
}

TEST_CASE("backward drops what forward dropped, whatever the block of rows and the pass") {
  const Dropout<float> dropout(0.5);
  Pass pass(dropout);
  const Matrix<float> x = comet::test::random_matrix<float>(7, 9, 1, 0.5, 1);
  const Matrix<float> dy = Matrix<float>::Ones(7, 9);
  Matrix<float> y(7, 9), dx = Matrix<float>::Zero(7, 9);
  dropout.forward(x, y, RandomKey(2), pass);
  dropout.backward(x, y, dy, dx, pass);
  CHECK(comet::test::same_bits(y, (x.array() * dx.array()).matrix()));
  const Matrix<float> once = dx;
  dropout.backward(x, y, dy, dx, pass);
  CHECK(comet::test::same_bits(dx, 2 * once));  // added to
  Matrix<float> other(7, 9);
  dropout.forward(x, other, RandomKey(3), pass);
  CHECK(!comet::test::same_bits(y, other));
  // A sample's mask does not depend on how many follow.
  Matrix<float> alone(7, 1);
  dropout.forward(x.leftCols(1), alone, RandomKey(2), pass);
  CHECK(comet::test::same_bits(alone, y.leftCols(1)));
  // In place it is the same.
  Matrix<float> in_place = x;
  dropout.forward(in_place, in_place, RandomKey(2), pass);
  CHECK(comet::test::same_bits(in_place, y));
}

TEST_CASE("rate 0 and inference change nothing; rates outside [0, 1) are refused") {
  const Matrix<float> x = comet::test::random_matrix<float>(3, 3, 1);
  Matrix<float> y(3, 3), dx = Matrix<float>::Zero(3, 3);
  const Dropout<float> none(0), half(0.5);
  Pass pass(none), half_pass(half);
  none.forward(x, y, RandomKey(1), pass);
  CHECK(comet::test::same_bits(x, y));
  none.backward(x, y, x, dx, pass);
  CHECK(comet::test::same_bits(x, dx));
  y.setZero();
  half.predict(x, y, half_pass);
  CHECK(comet::test::same_bits(x, y));
  CHECK_THROWS_WITH(Dropout<float>(1), "comet::Dropout: rate is 1, expected in [0, 1)");
  CHECK_THROWS_AS(Dropout<float>(-0.1), std::invalid_argument);
  CHECK_THROWS_AS(Dropout<float>(std::nan("")), std::invalid_argument);
}

TEST_CASE("misuse of dropout is named") {
  const Dropout<float> dropout(0.5);
  Pass pass(dropout);
  const Matrix<float> x = Matrix<float>::Zero(3, 2);
  Matrix<float> y(3, 2), tall(4, 2);
  CHECK_THROWS_WITH(dropout.backward(x, y, y, comet::no_gradient, pass),
                    "comet::Dropout::backward: the pass holds no forward(); call it first");
  CHECK_THROWS_WITH(dropout.forward(x, tall, RandomKey(1), pass),
                    "comet::Dropout::forward: y.rows() is 4, expected x.rows() = 3");
  dropout.forward(x, y, RandomKey(1), pass);
  CHECK_THROWS_WITH(dropout.backward(x, y, tall, comet::no_gradient, pass),
                    "comet::Dropout::backward: dy.rows() is 4, expected x.rows() = 3");
  CHECK_THROWS_WITH(dropout.backward(x, y, y, tall, pass),
                    "comet::Dropout::backward: dx.rows() is 4, expected x.rows() = 3");
}
