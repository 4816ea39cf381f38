// SPDX-License-Identifier: MIT
#include <examples/programs/run_on_ranks.hpp>
#include <examples/two_pictures/run_program.hpp>
#include <support/catch.hpp>

using namespace programs::two_pictures::test;

TEST_CASE("two_pictures train: the same training on any number of ranks", "[two_pictures][ranks]") {
  programs::test::check_train_on_ranks<Program>(SmallTraining());
}

TEST_CASE("two_pictures train on ranks: each task learns the order of its own experts",
          "[two_pictures][ranks]") {
  programs::test::check_train_on_ranks<Program>(
      SmallTraining(), {"--local-search=relaxed", "--search-temperatures=0.1,0.001"});
}
