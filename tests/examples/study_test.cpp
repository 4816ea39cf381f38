// SPDX-License-Identifier: MIT
#include <stdexcept>
#include <string>
#include <vector>

#include <study.hpp>

#include <support/catch.hpp>

namespace {

study::Size size_from(const std::vector<const char*>& words) {
  return study::size_from(words, {.seeds = 20, .steps = 600});
}

}  // namespace

TEST_CASE("study: a command line of two counts", "[study]") {
  CHECK(size_from({}).seeds == 20);
  CHECK(size_from({"--seeds", "3"}).seeds == 3);
  CHECK(size_from({"--seeds", "3"}).steps == 600);
  CHECK(size_from({"--steps", "7", "--seeds", "1"}).steps == 7);
}

TEST_CASE("study: what is wrong is named", "[study][error]") {
  const auto refused = [](const std::vector<const char*>& words, const std::string& why) {
    CHECK_THROWS_AS(size_from(words), std::invalid_argument);
    CHECK_THROWS_WITH(size_from(words), why);
  };
  const std::string expected = ", expected a whole number from 1 to 2147483647";
  refused({"--seeds", "0"}, "--seeds is \"0\"" + expected);
  refused({"--seeds", "-1"}, "--seeds is \"-1\"" + expected);
  refused({"--steps", "10x"}, "--steps is \"10x\"" + expected);
  refused({"--steps", "99999999999"}, "--steps is \"99999999999\"" + expected);
  refused({"--seeds", "3", "--steps"}, "--steps has no value");
  refused({"--seed", "3"}, "unknown option --seed, expected --seeds N or --steps N");
}

TEST_CASE("study: the sign test and the median", "[study]") {
  CHECK(study::sign_test(0, 5) == Approx(1));
  CHECK(study::sign_test(5, 5) == Approx(1.0 / 32));
  CHECK(study::sign_test(4, 5) == Approx(6.0 / 32));
  CHECK(study::median({3, 1, 2}) == 2);
  CHECK(study::median({4, 1, 2, 3}) == 2.5);
}
