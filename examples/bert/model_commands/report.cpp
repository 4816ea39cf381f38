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
          .losses = {{"task", "loss", "loss of the task"}},
          .loss_units = "",
          .score = {"score", "score", "Score on the dev rows"}};
}

ReportWords words() {
  return {.plots = plot_words(), .results = result_words(), .is_twin = [](const std::string& row) {
            return is_dense(row) || row.ends_with(twin_ending);
          }};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  programs::add_report(program, console, words(),
                       "Of a training: loss and score, experts per token. Of a comparison: loss "
                       "and\nexperts of its rows. Of a search: trials and Pareto front.");
}

}  // namespace programs::bert
