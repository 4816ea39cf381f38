// SPDX-License-Identifier: MIT
#include <programs/commands/train.hpp>

#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/run.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

void add_train(CLI::App& program, const Console& console) {
  programs::add_train<TrainOptions>(
      program, console,
      {.what = "Train a model that tells what the pictures on a canvas show",
       .choices = {"gate", "local_search"}},
      result_words());
}

}  // namespace programs::two_pictures
