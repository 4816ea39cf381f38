// SPDX-License-Identifier: MIT
#include <programs/commands/train.hpp>

#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>

namespace programs::bert {

void add_distil(CLI::App& program, const Console& console) {
  programs::add_train<DistilOptions>(
      program, console,
      {.name = "distil",
       .what =
           "Make a student of a teacher, experts of its feed-forward blocks, and train it to do "
           "what the teacher does",
       .choices = {"gate", "local_search"}},
      result_words());
}

}  // namespace programs::bert
