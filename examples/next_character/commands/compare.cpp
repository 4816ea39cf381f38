// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/report/cost_plots.hpp>

namespace programs::next_character {

void add_compare(CLI::App& program, const Console& console) {
  programs::add_compare<TrainOptions, Text>(
      program, console,
      {.what = "Train several gates and dense networks on the same text and print one table",
       .data = "text",
       .gates = {"comet", "top_k", dense, dense_wide},
       .rows = row_names(),
       .rows_help = "which gates and dense networks",
       .is_dense = is_dense,
       .results = result_words(),
       .table = "result.json",
       .more = {"split_seed"},
       .keeps_models = true,
       .plots = cost_plots,
       .plots_help = "draw bits against multiply-adds and against seconds, with gnuplot"});
}

}  // namespace programs::next_character
