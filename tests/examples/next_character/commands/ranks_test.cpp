// SPDX-License-Identifier: MIT
#include <examples/next_character/run_program.hpp>
#include <examples/programs/run_on_ranks.hpp>
#include <support/catch.hpp>

using namespace programs::next_character::test;

TEST_CASE("next_character train: the same training on any number of ranks",
          "[next_character][ranks]") {
  programs::test::check_train_on_ranks<Program>(SmallTraining());
}
