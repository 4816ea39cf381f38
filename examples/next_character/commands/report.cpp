// SPDX-License-Identifier: MIT
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/report/cost_plots.hpp>
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
      "Of a training: loss and bits, accuracy, experts per character and load per\n"
      "expert. Of a comparison: loss and experts of its rows, and bits against cost. Of a\n"
      "search: trials and Pareto front. report.html shows all of it with the tables of\n"
      "results and options, in one file for any browser.\n"
      "\n"
      "Example:\n"
      "  next_character report results/comet");
  command->callback([o, console] { report_folder(o->folder, o->out, words(), console); });
}

}  // namespace programs::next_character
