// SPDX-License-Identifier: MIT
#include <programs/commands/train.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/model/train_options.hpp>

namespace programs::movielens {

void add_train(CLI::App& program, const Console& console) {
  programs::add_train<TrainOptions>(
      program, console,
      {.what = "Train the two-task model: has the user watched the movie, and how many stars?",
       .choices = {"gate", "local_search"}},
      result_words());
}

}  // namespace programs::movielens
