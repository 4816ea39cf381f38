// SPDX-License-Identifier: MIT
#include <bert/commands/program.hpp>

#include <CLI/CLI.hpp>

#include <bert/commands/commands.hpp>
#include <programs/commands/program.hpp>

namespace programs::bert {

int run(int argc, const char* const* argv, const Console& console) {
  CLI::App program(
      "Makes mixtures of experts of a pretrained transformer for sentences, BERT, and compares "
      "them with the dense model.",
      "bert");
  start_program(program);
  add_model_commands(program, console);
  add_tokens(program, console);
  add_synthesize(program, console);
  return run_program(program, argc, argv, console);
}

}  // namespace programs::bert
