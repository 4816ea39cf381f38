// SPDX-License-Identifier: MIT
#include <programs/commands/report.hpp>

#include <programs/report/folder_report.hpp>
#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/run.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {
namespace {

ReportWords words() {
  return {.plots = {.tasks = {"first picture", "second picture"},
                    .losses = {{"cross_entropy_1", "first picture", "that of the first picture"}},
                    .loss_units = " (nats)",
                    .score = {"accuracy", "accuracy", "Pictures told right"}},
          .results = result_words(),
          .is_twin = is_dense};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  programs::add_report(
      program, console, words(),
      "Of a training: loss, accuracy, experts per canvas, load per expert and, with a\n"
      "local search, the order of the experts. Of a comparison: loss and experts of its\n"
      "rows. Of a search: trials, Pareto front and budget.");
}

}  // namespace programs::two_pictures
