// SPDX-License-Identifier: MIT
#include <programs/commands/tune.hpp>

#include <bert/model/study_data.hpp>
#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>

namespace programs::bert {

void add_tune(CLI::App& program, const Console& console) {
  programs::add_tune<DistilOptions>(
      program, console,
      {.can_halve = false,
       .examples = "Validation and test rows are the same here, those of dev.tsv.\n"
                   "\n"
                   "Example:\n"
                   "  bert tune --teacher results/teacher/model.safetensors \\\n"
                   "    --space examples/bert/search_spaces/comet.json --trials 20"});
}

}  // namespace programs::bert
