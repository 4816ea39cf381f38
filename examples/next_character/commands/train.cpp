// SPDX-License-Identifier: MIT
#include <programs/commands/train.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/model/train_options.hpp>

namespace programs::next_character {

void add_train(CLI::App& program, const Console& console) {
  programs::add_train<TrainOptions>(
      program, console,
      {.what = "Train a model that says which character comes next",
       .choices = {"gate"},
       .checkpoint_every = "training steps; 0 for none (default after every validation)"},
      result_words());
}

}  // namespace programs::next_character
