// SPDX-License-Identifier: MIT
#include <next_character/commands/program.hpp>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <programs/commands/program.hpp>

namespace programs::next_character {

int run(int argc, const char* const* argv, const Console& console) {
  CLI::App program(
      "Trains small models, with mixtures of experts and without, to say which character "
      "of a text comes next.",
      "next_character");
  start_program(program);
  add_train(program, console);
  add_compare(program, console);
  add_tune(program, console);
  add_evaluate(program, console);
  add_sample(program, console);
  add_explain(program, console);
  add_report(program, console);
  return run_program(program, argc, argv, console);
}

}  // namespace programs::next_character
