// SPDX-License-Identifier: MIT
#include <programs/commands/tune.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/model/train_options.hpp>

namespace programs::next_character {

void add_tune(CLI::App& program, const Console& console) {
  programs::add_tune<TrainOptions>(
      program, console,
      {.choices = {"gate"},
       .can_halve = false,
       .examples = "Example:\n"
                   "  next_character tune --space top_k.json --trials 40 --steps 1000"});
}

}  // namespace programs::next_character
