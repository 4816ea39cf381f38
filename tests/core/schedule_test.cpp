// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <limits>

#include <comet/core/schedule.hpp>

using comet::Schedule;

TEST_CASE("schedules start and end exactly on the values given, and stay there") {
  for (const Schedule& schedule : {Schedule::linear(0.1, 0.3, 7), Schedule::cosine(0.1, 0.3, 7)}) {
    CHECK(schedule(0) == 0.1);
    CHECK(schedule(-5) == 0.1);
    CHECK(schedule(7) == 0.3);
    CHECK(schedule(1000000) == 0.3);
    for (int t = 0; t < 7; ++t) CHECK(schedule(t) < schedule(t + 1));
  }
  CHECK(Schedule::constant(0.7)(0) == 0.7);
  CHECK(Schedule::constant(0.7)(123) == 0.7);
}

TEST_CASE("linear and cosine follow their formulas") {
  const Schedule linear = Schedule::linear(10, 2, 8);
  const Schedule cosine = Schedule::cosine(10, 2, 8);
  CHECK(linear(2) == Approx(8));
  CHECK(linear(4) == Approx(6));
  CHECK(cosine(4) == Approx(6));
  CHECK(cosine(2) == Approx(2 + 8 * (1 + std::cos(std::numbers::pi / 4)) / 2));
}

TEST_CASE("schedules are values") {
  Schedule s = Schedule::constant(1);
  const Schedule t = Schedule::cosine(1, 0, 10);
  CHECK_FALSE(s == t);
  s = t;
  CHECK(s == t);
  CHECK_FALSE(Schedule::linear(1, 0, 10) == t);
}

TEST_CASE("schedules refuse what they cannot follow") {
  CHECK_THROWS_WITH(Schedule::linear(0, 1, 0),
                    "comet::Schedule::linear: steps is 0, expected at least 1");
  CHECK_THROWS_WITH(Schedule::cosine(std::numeric_limits<double>::quiet_NaN(), 1, 5),
                    "comet::Schedule::cosine: first value is nan, expected a finite number");
  CHECK_THROWS_AS(Schedule::constant(std::numeric_limits<double>::infinity()),
                  std::invalid_argument);
}
