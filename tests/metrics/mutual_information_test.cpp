// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <comet/core/types.hpp>
#include <comet/metrics/mutual_information.hpp>

#include <support/catch.hpp>

using comet::Matrix;
using comet::mutual_information;

TEST_CASE("mutual_information: nothing of independent ones, all of a bijection", "[metrics]") {
  Matrix<double> independent(2, 3);
  independent << 1, 2, 3, 2, 4, 6;
  CHECK(mutual_information(independent) < 1e-15);
  CHECK(mutual_information(independent) >= 0);
  const Matrix<double> bijection = 7 * Matrix<double>::Identity(4, 4);
  CHECK(mutual_information(bijection) == Approx(std::log(4.0)));
  Matrix<double> some(2, 2);
  some << 3, 1, 1, 3;
  CHECK(mutual_information(some) ==
        Approx(0.75 * std::log(0.375 / 0.25) + 0.25 * std::log(0.125 / 0.25)));
  CHECK(mutual_information(5 * some) == Approx(mutual_information(some)));
  CHECK(mutual_information(Matrix<double>::Zero(2, 2)) == 0);
}

TEST_CASE("mutual_information: refuses what counts nothing", "[metrics][error]") {
  Matrix<double> wrong = Matrix<double>::Ones(2, 2);
  wrong(1, 0) = -1;
  CHECK_THROWS_WITH(mutual_information(wrong),
                    "comet::mutual_information: together(1, 0) is -1, expected a number >= 0");
  wrong(1, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(mutual_information(wrong), Catch::Contains("together(1, 0) is nan"));
}
