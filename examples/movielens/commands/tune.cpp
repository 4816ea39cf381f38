// SPDX-License-Identifier: MIT
#include <programs/commands/tune.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/train_options.hpp>

namespace programs::movielens {

void add_tune(CLI::App& program, const Console& console) {
  programs::add_tune<TrainOptions>(
      program, console,
      {.examples = "Examples:\n"
                   "  movielens tune --data ml --space top_k.json --trials 40 --parallel 2\n"
                   "  movielens tune --data ml --space top_k.json --trials 80 --resume"});
}

}  // namespace programs::movielens
