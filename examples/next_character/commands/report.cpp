// SPDX-License-Identifier: MIT
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <programs/report/folder_report.hpp>

namespace programs::next_character {
namespace {

PlotWords words() {
  return {.tasks = {"character"},
          .losses = {{"bits", "bits", "bits a character"}},
          .loss_units = " (training and validation in nats)",
          .score = {"accuracy", "accuracy", "Characters predicted right"},
          .epoch = "validation"};
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  auto* command =
      program.add_subcommand("report", "Draw what a training or a search wrote, with gnuplot");
  struct Options {
    std::string folder;
    std::string out;
  };
  auto o = std::make_shared<Options>();
  command->add_option("DIR", o->folder, "of a training by train, or of a search by tune")
      ->type_name("")
      ->required();
  command->add_option("--out", o->out, "for NAME.png, .svg, .tsv and .gp (default DIR/report)")
      ->type_name("DIR");
  command->footer(
      "Of a training: loss and bits, accuracy, experts per character and load per\n"
      "expert. Of a search: trials and Pareto front.\n"
      "\n"
      "Example:\n"
      "  next_character report results/comet");
  command->callback([o, console] { report_folder(o->folder, o->out, words(), console); });
}

}  // namespace programs::next_character
