// SPDX-License-Identifier: MIT
#include <string>

#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>
#include <programs/commands/report.hpp>
#include <programs/report/folder_report.hpp>

namespace programs::bert {
namespace {

PlotWords plot_words() {
  return {.tasks = {},
          .losses = {{"hidden_error", "hidden error", "error over the hidden states"}},
          .loss_units = "",
          .score = {"score", "score", "Score"},
          .task = "layer"};
}

ReportWords words() {
  return {.plots = plot_words(), .results = result_words(), .is_twin = [](const std::string& row) {
            return is_dense(row) || row.ends_with(twin_ending);
          }};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  programs::add_report(
      program, console, words(),
      "Of a training: loss and score, experts per token and load per expert. Of a\n"
      "comparison: loss and experts of its rows. Of a search: trials and Pareto "
      "front.");
}

}  // namespace programs::bert
