// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>

#include <comet/losses/router_z.hpp>
#include <support/model.hpp>

using comet::Matrix;

TEST_CASE("router z-loss and its gradient by the definition and by differences") {
  Matrix<double> h = comet::test::random_matrix<double>(4, 3, 1, -2, 2);
  Matrix<double> gradient(4, 3), scratch(4, 3);
  const Eigen::ArrayXXd e = h.array().exp();
  const double expected = e.colwise().sum().log().square().mean();
  CHECK(comet::router_z(h, gradient) == Approx(expected).epsilon(1e-12));
  for (Eigen::Index i = 0; i < h.size(); ++i) {
    const double value = h.data()[i], step = 1e-5;
    h.data()[i] = value + step;
    const double above = comet::router_z(h, scratch);
    h.data()[i] = value - step;
    const double below = comet::router_z(h, scratch);
    h.data()[i] = value;
    CHECK(gradient.data()[i] == Approx((above - below) / (2 * step)).margin(1e-9));
  }
}

TEST_CASE("router z-loss survives large logits and names bad ones") {
  Matrix<double> h = Matrix<double>::Constant(2, 1, 1e4), gradient(2, 1);
  const double z = 1e4 + std::log(2.0);
  CHECK(comet::router_z(h, gradient) == Approx(z * z));
  CHECK(gradient(0, 0) == Approx(z));
  h(1, 0) = std::nan("");
  CHECK_THROWS_WITH(comet::router_z(h, gradient),
                    "comet::router_z: logits(1, 0) is nan, expected a finite number");
  Matrix<double> wrong(3, 1), empty(2, 0);
  CHECK_THROWS_AS(comet::router_z(h, wrong), std::invalid_argument);
  CHECK(comet::router_z(empty, empty) == 0);
}
