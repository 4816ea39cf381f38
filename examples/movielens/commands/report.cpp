// SPDX-License-Identifier: MIT
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/model/biases.hpp>
#include <movielens/model/train_options.hpp>
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
  auto* command = program.add_subcommand(
      "report", "Draw what a training, a comparison or a search wrote, as a page for a browser");
  struct Options {
    std::string folder;
    std::string out;
  };
  auto o = std::make_shared<Options>();
  command
      ->add_option("DIR", o->folder,
                   "of a training by train, a comparison by compare, or a search by tune")
      ->type_name("")
      ->required();
  command
      ->add_option("--out", o->out,
                   "for report.html and NAME.png, .svg, .tsv and .gp (default DIR/report)")
      ->type_name("DIR");
  command->footer(
      "Of a training: loss, AUC, experts per sample, load per expert and, with a local\n"
      "search, the order of the experts. Of a comparison: loss and experts per sample of\n"
      "its rows. Of a search: trials, Pareto front and budget. report.html shows all of\n"
      "it with the tables of results and options, in one file for any browser.\n"
      "\n"
      "Example:\n"
      "  movielens report results/comet");
  command->callback([o, console] { report_folder(o->folder, o->out, words(), console); });
}

}  // namespace programs::movielens
