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

TEST_CASE("mutual_information: the unit of the counts does not matter", "[metrics]") {
  const Matrix<double> bijection = Matrix<double>::Identity(2, 2);
  Matrix<double> some(2, 3);
  some << 3, 1, 0, 1, 3, 2;
  const double expected = mutual_information(some);
  CHECK(expected > 0.1);
  for (const double unit : {5e-324, 1e-308, 1e-200, 1e-160, 1e160, 1e200, 5e307}) {
    CAPTURE(unit);
    CHECK(mutual_information(unit * bijection) == Approx(std::log(2.0)));
    CHECK(mutual_information(unit * some) == Approx(expected));
  }
  // Next to nothing beside a large count, of whatever row and column.
  Matrix<double> uneven = Matrix<double>::Zero(3, 3);
  uneven.diagonal() << 1e300, 1e-5, 1e-320;
  CHECK(mutual_information(uneven) >= 0);
  CHECK(mutual_information(uneven) < 1e-300);
  uneven.diagonal() << 1, 1, 1e-307;
  CHECK(mutual_information(uneven) == Approx(std::log(2.0)));
  CHECK(mutual_information(Matrix<double>(0, 3)) == 0);
}

TEST_CASE("mutual_information: refuses what counts nothing", "[metrics][error]") {
  Matrix<double> wrong = Matrix<double>::Ones(2, 2);
  wrong(1, 0) = -1;
  CHECK_THROWS_WITH(mutual_information(wrong),
                    "comet::mutual_information: together(1, 0) is -1, expected a number >= 0");
  wrong(1, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(mutual_information(wrong), ContainsSubstring("together(1, 0) is nan"));
}
