// SPDX-License-Identifier: MIT
#include <programs/commands/train.hpp>

#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>

namespace programs::bert {

void add_finetune(CLI::App& program, const Console& console) {
  programs::add_train<FinetuneOptions>(
      program, console,
      {.name = "finetune",
       .what = "Train a pretrained model on a task: the teacher of the students",
       .choices = {}},
      result_words());
}

}  // namespace programs::bert
