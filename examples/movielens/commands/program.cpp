// SPDX-License-Identifier: MIT
#include <movielens/commands/program.hpp>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <programs/commands/budget.hpp>
#include <programs/commands/program.hpp>

namespace programs::movielens {

int run(int argc, const char* const* argv, const Console& console) {
  CLI::App program("Trains sparse mixtures of experts on MovieLens ratings.", "movielens");
  start_program(program);
  add_train(program, console);
  add_compare(program, console);
  add_tune(program, console);
  add_evaluate(program, console);
  add_recommend(program, console);
  add_budget(program, console);
  add_report(program, console);
  add_synthesize(program, console);
  return run_program(program, argc, argv, console);
}

}  // namespace programs::movielens
