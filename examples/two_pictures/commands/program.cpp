// SPDX-License-Identifier: MIT
#include <two_pictures/commands/program.hpp>

#include <CLI/CLI.hpp>

#include <programs/commands/budget.hpp>
#include <programs/commands/program.hpp>
#include <two_pictures/commands/commands.hpp>

namespace programs::two_pictures {

int run(int argc, const char* const* argv, const Console& console) {
  CLI::App program(
      "Trains mixtures of convolutional networks, and networks without a mixture, to tell what two "
      "pictures on one canvas show.",
      "two_pictures");
  start_program(program);
  add_train(program, console);
  add_compare(program, console);
  add_tune(program, console);
  add_budget(program, console);
  add_evaluate(program, console);
  add_show(program, console);
  add_report(program, console);
  add_synthesize(program, console);
  return run_program(program, argc, argv, console);
}

}  // namespace programs::two_pictures
