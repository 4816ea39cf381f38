// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/run.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

void add_compare(CLI::App& program, const Console& console) {
  programs::add_compare<TrainOptions, Dataset>(
      program, console,
      {.what =
           "Train several gates and networks without one on the same pictures and print one table",
       .data = "pictures",
       .gates = {"comet", "dselect_k", "top_k", "hash"},
       .rows = gates_and_dense_rows(),
       .rows_help = "which gates, and networks of the cost of k experts (dense, dense_per_task)",
       .is_dense = is_dense,
       .results = result_words(),
       .more = {"split_seed"},
       .keeps_models = true});
}

}  // namespace programs::two_pictures
