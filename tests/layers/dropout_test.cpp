// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>

#include <comet/layers/dropout.hpp>
#include <support/model.hpp>

using comet::Dropout;
using comet::Index;
using comet::Matrix;
using comet::RandomKey;

TEST_CASE("dropout keeps its rate and the mean") {
  const Dropout<double> dropout(0.3);
  Matrix<double> y = Matrix<double>::Ones(200, 500);
  dropout.forward(y, RandomKey(1));
  const double dropped = double((y.array() == 0).count()) / double(y.size());
  CHECK(dropped == Approx(0.3).margin(0.006));  // 4 standard deviations
  CHECK(y.maxCoeff() == Approx(1 / 0.7).epsilon(1e-4));
  CHECK(y.mean() == Approx(1).margin(0.01));
}

TEST_CASE("backward drops what forward dropped, whatever the block of rows and the pass") {
  const Dropout<float> dropout(0.5);
  const Matrix<float> x = comet::test::random_matrix<float>(7, 9, 1, 0.5, 1);
  Matrix<float> y = x, dy = Matrix<float>::Ones(7, 9);
  dropout.forward(y, RandomKey(2));
  dropout.backward(dy, RandomKey(2));
  CHECK(comet::test::same_bits(y, (x.array() * dy.array()).matrix()));
  Matrix<float> other = x;
  dropout.forward(other, RandomKey(3));
  CHECK(!comet::test::same_bits(y, other));
  // A sample's mask does not depend on how many follow.
  Matrix<float> alone = x.leftCols(1);
  dropout.forward(alone, RandomKey(2));
  CHECK(comet::test::same_bits(alone, y.leftCols(1)));
}

TEST_CASE("rate 0 changes nothing; rates outside [0, 1) are refused") {
  const Matrix<float> x = comet::test::random_matrix<float>(3, 3, 1);
  Matrix<float> y = x;
  Dropout<float>(0).forward(y, RandomKey(1));
  CHECK(comet::test::same_bits(x, y));
  CHECK_THROWS_WITH(Dropout<float>(1), "comet::Dropout: rate is 1, expected in [0, 1)");
  CHECK_THROWS_AS(Dropout<float>(-0.1), std::invalid_argument);
  CHECK_THROWS_AS(Dropout<float>(std::nan("")), std::invalid_argument);
}
