// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/report/cost_plots.hpp>
#include <programs/commands/report.hpp>
#include <programs/report/folder_report.hpp>

namespace programs::next_character {
namespace {

PlotWords plot_words() {
  return {.tasks = {"character"},
          .losses = {{"bits", "bits", "bits a character"}},
          .loss_units = " (training and validation in nats)",
          .score = {"accuracy", "accuracy", "Characters predicted right"},
          .epoch = "validation"};
}

ReportWords words() {
  return {.plots = plot_words(),
          .results = result_words(),
          .is_twin = is_dense,
          .comparison_plots = cost_plots};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  programs::add_report(
      program, console, words(),
      "Of a training: loss and bits, accuracy, experts per character and load per\n"
      "expert. Of a comparison: loss and experts of its rows, and bits against cost. Of\n"
      "a search: trials and Pareto front.");
}

}  // namespace programs::next_character
