// SPDX-License-Identifier: MIT
#include <string>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/model/biases.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/commands/report.hpp>
#include <programs/report/folder_report.hpp>

namespace programs::movielens {
namespace {

/// Of the two tasks.
PlotWords plot_words() {
  return {.tasks = {"watched", "rating"},
          .losses = {{"mse", "MSE", "MSE of the rating"},
                     {"bce", "cross-entropy", "cross-entropy of watched"}},
          .loss_units = " (MSE in squared stars, cross-entropy in nats)",
          .score = {"auc", "AUC (0.5 = chance, 1 = perfect)", "AUC of \"watched\""}};
}

ReportWords words() {
  return {.plots = plot_words(), .results = result_words(), .is_twin = [](const std::string& row) {
            return row == biases_row || is_dense(row);
          }};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  programs::add_report(
      program, console, words(),
      "Of a training: loss, AUC, experts per sample, load per expert and, with a local\n"
      "search, the order of the experts. Of a comparison: loss and experts per sample\n"
      "of its rows. Of a search: trials, Pareto front and budget.");
}

}  // namespace programs::movielens
