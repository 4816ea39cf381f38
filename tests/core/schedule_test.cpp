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

TEST_CASE("schedules follow one another") {
  const Schedule s =
      Schedule::linear(1, 3, 4).then(Schedule::constant(3, 5)).then(Schedule::cosine(8, 2, 10));
  CHECK(s.num_steps() == 19);
  for (int t = 0; t < 4; ++t) CHECK(s(t) == Schedule::linear(1, 3, 4)(t));
  for (int t = 4; t < 9; ++t) CHECK(s(t) == 3.0);
  for (int t = 9; t < 40; ++t) CHECK(s(t) == Schedule::cosine(8, 2, 10)(t - 9));
  CHECK(s.smallest() == 1);
  CHECK(s.largest() == 8);
  CHECK(s(-3) == 1);
}

TEST_CASE("a warm-up leads from 0 to where the next one begins") {
  const Schedule cosine = Schedule::warm_up(200).then_cosine(3e-4, 20'000);
  CHECK(cosine(0) == 0);
  CHECK(cosine(100) == Approx(1.5e-4));
  CHECK(cosine(200) == 3e-4);
  CHECK(cosine(10'200) == Approx(1.5e-4));
  CHECK(cosine(20'200) == 0);
  CHECK(cosine(1'000'000) == 0);
  CHECK(cosine == Schedule::linear(0, 3e-4, 200).then(Schedule::cosine(3e-4, 0, 20'000)));
  CHECK(Schedule::warm_up(10).then_linear(1, 4, 0.5)(12) == 0.75);
  CHECK(Schedule::warm_up(10).then_linear(1, 4, 0.5)(99) == 0.5);
  CHECK(Schedule::warm_up(10).then_constant(2)(5) == 1);
  CHECK(Schedule::warm_up(10).then_constant(2)(99) == 2);
}

TEST_CASE("a number is a schedule") {
  const Schedule number = 0.25;
  CHECK(number == Schedule::constant(0.25));
  CHECK(number(0) == 0.25);
  CHECK(number(3) == 0.25);
}

TEST_CASE("schedules refuse what they cannot follow") {
  CHECK_THROWS_WITH(Schedule::linear(0, 1, 0),
                    "comet::Schedule::linear: steps is 0, expected at least 1");
  CHECK_THROWS_WITH(Schedule::cosine(std::numeric_limits<double>::quiet_NaN(), 1, 5),
                    "comet::Schedule::cosine: first value is nan, expected a finite number");
  CHECK_THROWS_AS(Schedule::constant(std::numeric_limits<double>::infinity()),
                  std::invalid_argument);
  CHECK_THROWS_WITH(Schedule::warm_up(0),
                    "comet::Schedule::warm_up: steps is 0, expected at least 1");
  CHECK_THROWS_AS(Schedule(std::numeric_limits<double>::quiet_NaN()), std::invalid_argument);
}
