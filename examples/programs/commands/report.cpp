// SPDX-License-Identifier: MIT
#include <programs/commands/report.hpp>

#include <memory>

#include <CLI/CLI.hpp>

#include <programs/commands/command_line.hpp>

namespace programs {

void add_report(CLI::App& program, const Console& console, const ReportWords& words,
                const std::string& what) {
  auto* command = program.add_subcommand(
      "report", "Draw what a training, a comparison or a search wrote, as a page for a browser");
  struct Options {
    std::string folder;
    std::string out;
  };
  auto o = std::make_shared<Options>();
  command
      ->add_option("DIR", o->folder, "of a training, a comparison by compare, or a search by tune")
      ->type_name("")
      ->required()
      ->check(what_is_empty);
  command
      ->add_option("--out", o->out,
                   "for report.html and NAME.png, .svg, .tsv and .gp (default DIR/report)")
      ->type_name("DIR")
      ->check(what_is_empty);
  command->footer(what +
                  "\nreport.html shows all of it with the tables of results and options, in one\n"
                  "file for any browser.\n\nExample:\n  " +
                  program.get_name() + " report results/comet");
  command->callback([o, words, console] { report_folder(o->folder, o->out, words, console); });
}

}  // namespace programs
