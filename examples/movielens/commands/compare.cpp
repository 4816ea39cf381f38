// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/data/dataset.hpp>
#include <movielens/model/biases.hpp>
#include <movielens/model/train_options.hpp>

namespace programs::movielens {
namespace {

RunResult run_biases(const TrainOptions& options, const Dataset& data) {
  const BiasFit fit = fit_biases(data.rows, task_weights(options));
  return {.training = {.validation = fit.validation, .test = fit.test},
          .parameters = fit.parameters};
}

}  // namespace

void add_compare(CLI::App& program, const Console& console) {
  programs::add_compare<TrainOptions, Dataset>(
      program, console,
      {.what = "Train several gates on the same rows and print one table",
       .gates = {"comet", "top_k"},
       .rows = gates_and_dense_rows(),
       .rows_help =
           "which gates, dense networks of the cost of k experts (dense, dense_per_task), and\n"
           "a bias per user and per item (biases)",
       .fits = {{biases_row, run_biases}},
       .is_dense = is_dense,
       .results = result_words(),
       .more = {"split_seed"}});
}

}  // namespace programs::movielens
