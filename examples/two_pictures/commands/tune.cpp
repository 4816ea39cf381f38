// SPDX-License-Identifier: MIT
#include <programs/commands/tune.hpp>

#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/run.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

void add_tune(CLI::App& program, const Console& console) {
  programs::add_tune<TrainOptions>(
      program, console,
      {.examples = "Example:\n"
                   "  two_pictures tune --space comet.json --trials 20 --epochs 4"});
}

}  // namespace programs::two_pictures
