// SPDX-License-Identifier: MIT
#include <string>

#include <examples/next_character/run_program.hpp>
#include <examples/programs/run_on_ranks.hpp>
#include <support/catch.hpp>

using namespace programs::next_character::test;
using comet::Index;
using programs::test::check_same_training;
using programs::test::run_on_ranks;

TEST_CASE("next_character train: the same training on any number of ranks",
          "[next_character][ranks]") {
  const SmallTraining training;
  for (const std::string gate : {"comet", "top_k"}) {
    const Arguments options = {"--gate=" + gate, "--learning-rate=0.001"};
    REQUIRE(training.train(gate, options).code == 0);
    for (const Index ranks : {2, 3}) {
      INFO(gate << " on " << ranks << " ranks");
      const std::string name = gate + std::to_string(ranks);
      for (const auto& outcome :
           run_on_ranks<Program>(ranks, training.small("train", name, options))) {
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
      }
      check_same_training(training.out(gate), training.out(name), 2e-5);
    }
  }
}
