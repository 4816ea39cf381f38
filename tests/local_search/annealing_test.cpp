// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <limits>

#include <comet/local_search/annealing.hpp>
#include <support/golden.hpp>

using comet::Annealing;
using comet::Index;

TEST_CASE("the published annealing matches the golden schedule") {
  const Annealing annealing = Annealing::published();
  annealing.validate();
  for (const auto& golden : comet::test::golden("schedule.json")) {
    const Index step = golden.at("step").get<Index>();
    const Index total = golden.at("total").get<Index>();
    CAPTURE(step, total);
    CHECK(annealing.temperature(step, total) ==
          Approx(golden.at("tau").get<double>()).epsilon(1e-12));
    CHECK(annealing.iterations(step, total) == golden.at("iterations").get<Index>());
  }
}

TEST_CASE("the default annealing is warm, with a constant number of iterations") {
  const Annealing annealing;
  annealing.validate();
  CHECK(annealing.temperature(0, 100) == Approx(0.1));
  CHECK(annealing.temperature(50, 100) == Approx(0.01));
  CHECK(annealing.temperature(100, 100) == Approx(0.001));
  for (const Index step : {0, 1, 50, 100}) CHECK(annealing.iterations(step, 100) == 20);
}

TEST_CASE("iterations are exact floors") {
  const Annealing annealing = Annealing::published();
  for (Index total = 1; total <= 130; ++total)
    for (Index step = 0; step <= total; ++step)
      REQUIRE(annealing.iterations(step, total) == 20 + (130 * step) / total);
  CHECK(Annealing{.first_iterations = 5, .last_iterations = 5}.iterations(3, 9) == 5);
}

TEST_CASE("annealing refuses impossible values") {
  const auto invalid = [](Annealing annealing) {
    CHECK_THROWS_AS(annealing.validate(), std::invalid_argument);
  };
  invalid({.first_temperature = 0});
  invalid({.last_temperature = -1});
  invalid({.last_temperature = std::numeric_limits<double>::infinity()});
  invalid({.first_iterations = 0});
  invalid({.first_iterations = 30, .last_iterations = 29});

  const Annealing annealing;
  CHECK_THROWS_WITH(annealing.temperature(11, 10),
                    "comet::Annealing::temperature: step is 11, expected at most total = 10");
  CHECK_THROWS_AS(annealing.iterations(0, 0), std::invalid_argument);
  CHECK_THROWS_AS(annealing.iterations(-1, 10), std::invalid_argument);
}
