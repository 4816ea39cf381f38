// SPDX-License-Identifier: MIT
#include <CLI/CLI.hpp>

#include <bert/commands/commands.hpp>

namespace programs::bert {

void add_model_commands(CLI::App& program, const Console& /*console*/) {
  program.description(program.get_description() +
                      "\nBuilt without LibTorch: the commands that train and run models are "
                      "missing.");
}

}  // namespace programs::bert
