// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>

#include <support/catch.hpp>
#include <support/locale.hpp>

using namespace comet;
namespace detail = comet::detail;

TEST_CASE("a message names the argument, its value and its bound") {
  CHECK_THROWS_WITH(detail::raise("Here", "all is lost"), "comet::Here: all is lost");
  CHECK_THROWS_WITH(detail::check_equal("A::b", "x.rows()", 3, "input_dim", 4),
                    "comet::A::b: x.rows() is 3, expected input_dim = 4");
  CHECK_THROWS_WITH(detail::check_at_least("A", "n", -1, 0),
                    "comet::A: n is -1, expected at least 0");
  CHECK_THROWS_WITH(detail::check_at_most("A", "k", 9, "n", 8),
                    "comet::A: k is 9, expected at most n = 8");
  CHECK_THROWS_AS(detail::check_at_least("A", "n", -1, 0), std::invalid_argument);
  CHECK_NOTHROW(detail::check_equal("A", "x", 4, "y", 4));
  CHECK_NOTHROW(detail::check_at_least("A", "n", 0, 0));
  CHECK_NOTHROW(detail::check_at_most("A", "k", 8, "n", 8));
}

TEST_CASE("ids ascend below a bound, or the first that does not is named") {
  const auto check = [](const std::vector<int>& ids) {
    detail::check_ascending("A", ids, "n", 4, [] { return "an id"; });
  };
  for (const auto& good : {std::vector<int>{}, {0}, {3}, {0, 1, 3}}) CHECK_NOTHROW(check(good));
  CHECK_THROWS_WITH(check({-1}), "comet::A: an id is -1, expected above -1 and below n = 4");
  CHECK_THROWS_WITH(check({1, 4}), "comet::A: an id is 4, expected above 1 and below n = 4");
  CHECK_THROWS_WITH(check({2, 2}), "comet::A: an id is 2, expected above 2 and below n = 4");
}

TEST_CASE("a value that is a hair beyond its bound does not look like the bound") {
  CHECK_THROWS_WITH(detail::raise("A", "t", 1.0000002F, "in [0, 1]"),
                    "comet::A: t is 1.00000024, expected in [0, 1]");
  CHECK_THROWS_WITH(detail::check_rate("A", "r", std::nextafter(0.0, -1.0)),
                    ContainsSubstring("r is -4.94066e-324,"));
  CHECK_THROWS_WITH(detail::raise("A", "t", 1 + 1e-15, "in [0, 1]"),
                    "comet::A: t is 1.0000000000000011, expected in [0, 1]");
  CHECK_THROWS_WITH(detail::raise("A", "t", 2.0, "in [0, 1]"),
                    "comet::A: t is 2, expected in [0, 1]");
  CHECK_THROWS_WITH(detail::raise("A", "t", 1.5, "in [0, 1]"),
                    "comet::A: t is 1.5, expected in [0, 1]");
}

TEST_CASE("a message has the same numbers in every locale") {
  const comet::test::GroupingLocale grouping;
  CHECK_THROWS_WITH(detail::check_equal("A::b", "x.rows()", 1200, "input_dim", 1300),
                    "comet::A::b: x.rows() is 1200, expected input_dim = 1300");
  CHECK_THROWS_WITH(detail::check_rate("A", "dropout", 1.5),
                    "comet::A: dropout is 1.5, expected in [0, 1)");
}

TEST_CASE("bounds of real numbers hold against nan and infinity") {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {0.0, -1.0, nan, infinity, -infinity})
    CHECK_THROWS_WITH(
        detail::check_positive("A", "p", bad),
        ContainsSubstring("comet::A: p is ") && ContainsSubstring("expected a finite number > 0"));
  for (const double bad : {-1.0, nan, infinity})
    CHECK_THROWS_WITH(detail::check_not_negative("A", "p", bad),
                      ContainsSubstring("expected a finite number >= 0"));
  for (const double bad : {-0.1, 1.0, nan, infinity})
    CHECK_THROWS_WITH(detail::check_rate("A", "p", bad), ContainsSubstring("expected in [0, 1)"));
  CHECK_NOTHROW(detail::check_positive("A", "p", 1e-300));
  CHECK_NOTHROW(detail::check_not_negative("A", "p", 0));
  CHECK_NOTHROW(detail::check_rate("A", "p", 0));
}

TEMPLATE_TEST_CASE("the first element that is not finite is named with its place", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const S infinity = std::numeric_limits<S>::infinity();
  Matrix<S> x = Matrix<S>::Constant(5, 7, std::numeric_limits<S>::max());  // whose sum overflows
  CHECK_NOTHROW(detail::check_finite<S>("A", "x", x));
  for (Index c = 0; c < 7; ++c)
    for (Index r = 0; r < 5; ++r) {
      Matrix<S> bad = x;
      bad(r, c) = r % 2 == 0 ? infinity : std::numeric_limits<S>::quiet_NaN();
      const std::string value = r % 2 == 0 ? "inf" : "nan";
      const std::string place = "x(" + std::to_string(r) + ", " + std::to_string(c) + ")";
      CHECK_THROWS_WITH(detail::check_finite<S>("A", "x", bad),
                        "comet::A: " + place + " is " + value + ", expected a finite number");
      try {
        detail::check_finite<S>("A", "x", bad);
      } catch (const NotFinite& error) {
        CHECK(error.where() == "A");
        CHECK(error.tensor() == place);
      }
    }
  CHECK_NOTHROW(detail::check_finite<S>("A", "x", Matrix<S>(0, 3)));
  CHECK_NOTHROW(detail::check_finite<S>("A", "x", Matrix<S>(3, 0)));
}

TEST_CASE("a gradient by x has the shape of x, or none") {
  const Matrix<double> x(3, 4);
  CHECK_NOTHROW(detail::check_input_gradient("A", Matrix<double>(3, 4), x));
  CHECK_NOTHROW(detail::check_input_gradient("A", Matrix<double>(0, 0), x));
  CHECK_THROWS_WITH(detail::check_input_gradient("A", Matrix<double>(4, 4), x),
                    "comet::A: dx.rows() is 4, expected x.rows() = 3");
  CHECK_THROWS_WITH(detail::check_input_gradient("A", Matrix<double>(3, 5), x),
                    "comet::A: dx.cols() is 5, expected x.cols() = 4");
}

TEST_CASE("a number that is not finite is no caller's mistake") {
  CHECK_THROWS_AS(detail::raise_not_finite("A::b", "the loss", "overflows"), NotFinite);
  CHECK_THROWS_WITH(detail::raise_not_finite("A::b", "the loss", "overflows"),
                    "comet::A::b: the loss overflows");
  static_assert(std::is_base_of_v<std::runtime_error, NotFinite>);
  static_assert(!std::is_base_of_v<std::logic_error, NotFinite>);
}

TEST_CASE("a backward pass belongs to its forward(), routing and shapes") {
  const Matrix<double> x(3, 4), wide(3, 5);
  Routing<double> routing;
  for (int b = 0; b < 4; ++b) {
    routing.push(0, 1.0);
    routing.end_sample();
  }
  const std::vector<double> dweights(4), few(3);
  const auto check = [&](const Matrix<double>& samples, const std::vector<double>& derivatives,
                         Matrix<double> dx, Index forward) {
    Samples<double>(samples).validate_backward("A", routing, derivatives, dx, forward);
  };
  CHECK_NOTHROW(check(x, dweights, x, 4));
  CHECK_NOTHROW(check(x, dweights, Matrix<double>(0, 0), 4));
  CHECK_THROWS_WITH(check(x, dweights, x, -1),
                    "comet::A: the pass holds no forward(); call it first");
  CHECK_THROWS_WITH(check(x, dweights, x, 5),
                    "comet::A: x.cols() is 4, expected samples of the last forward() = 5");
  CHECK_THROWS_WITH(check(wide, dweights, wide, 5),
                    "comet::A: routing.num_samples() is 4, expected x.cols() = 5");
  CHECK_THROWS_WITH(check(x, few, x, 4),
                    "comet::A: dweights.size() is 3, expected routing.num_entries() = 4");
  CHECK_THROWS_WITH(check(x, dweights, wide, 4), "comet::A: dx.cols() is 5, expected x.cols() = 4");
}

TEST_CASE("what is added to lies apart from what is read") {
  Matrix<double> all(6, 10);
  const auto apart = [](const ConstMatrixView<double>& a, const ConstMatrixView<double>& b) {
    return !detail::overlap(a, b) && !detail::overlap(b, a);
  };
  CHECK(apart(all, Matrix<double>(6, 10)));
  CHECK(apart(all.leftCols(5), all.rightCols(5)));
  CHECK(apart(all.topRows(3), all.bottomRows(3)));
  CHECK(apart(all.topRows(3), all.bottomRows(3).middleCols(4, 1)));
  CHECK(apart(all.leftCols(0), all));
  CHECK(apart(all.col(3), all.col(4)));
  CHECK_FALSE(apart(all, all));
  CHECK_FALSE(apart(all.leftCols(6), all.rightCols(6)));
  CHECK_FALSE(apart(all.topRows(4), all.bottomRows(3)));
  CHECK_FALSE(apart(all.topRows(3), all.block(2, 4, 3, 1)));
  CHECK_FALSE(apart(all, all.col(9)));
  // Columns that alternate are apart, too; others of two strides are not told from each other.
  using Strided = Eigen::Map<Matrix<double>, 0, Eigen::OuterStride<>>;
  const Strided even(all.data(), 6, 5, Eigen::OuterStride<>(12));
  const Strided odd(all.data() + 6, 6, 5, Eigen::OuterStride<>(12));
  CHECK(apart(even, odd));
  CHECK_FALSE(apart(even, all.rightCols(9)));
  CHECK_THROWS_WITH(detail::check_input_gradient("A", all, all),
                    "comet::A: dx overlaps x, expected memory of its own");
  CHECK_NOTHROW(detail::check_apart("A", "dx", all.topRows(2), "dy", all.bottomRows(4)));
}
