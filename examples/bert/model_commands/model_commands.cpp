// SPDX-License-Identifier: MIT
#include <bert/commands/commands.hpp>
#include <bert/model_commands/commands.hpp>

namespace programs::bert {

void add_model_commands(CLI::App& program, const Console& console) {
  add_finetune(program, console);
  add_moefy(program, console);
  add_distil(program, console);
  add_compare(program, console);
  add_tune(program, console);
  add_evaluate(program, console);
  add_report(program, console);
}

}  // namespace programs::bert
