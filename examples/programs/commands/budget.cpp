// SPDX-License-Identifier: MIT
#include <programs/commands/budget.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/core/random.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/plots.hpp>
#include <programs/study/budget.hpp>
#include <programs/study/trials.hpp>

namespace programs {
namespace {

struct BudgetOptions {
  std::vector<std::string> files;
  std::optional<double> target;
  int resamples = 1000;
  std::int64_t seed = 1;
  std::string out = "results/budget";
};

void budget(const BudgetOptions& o, const Console& console) {
  expect_at_least("--resamples", o.resamples, 1);
  expect_at_least("--seed", o.seed, 0);
  if (o.target && !std::isfinite(*o.target))
    throw std::invalid_argument(formatted("--target is %g, expected a finite number", *o.target));
  std::vector<Trial> trials;
  for (const std::string& file : o.files) {
    const std::vector<Trial> more = read_trials(file);
    if (more.empty()) throw FileError(file, "no trials in it");
    trials.insert(trials.end(), more.begin(), more.end());
  }
  const std::vector<BudgetGroup> groups = budget_groups(trials);
  const std::vector<Saving> saved =
      savings(groups, o.target, o.resamples, comet::RandomKey(static_cast<std::uint64_t>(o.seed)));
  make_directories(o.out);
  write_atomically(std::filesystem::path(o.out) / "budget.json",
                   to_json(groups, saved).dump(2) + "\n");
  draw({budget_plot(groups)}, o.out, console);
  console.out << "data: " << trials.front().source
              << "\n\nExpected test loss of the best of so many trials by validation loss\n\n"
              << curve_table(groups);
  if (saved.empty()) return;
  console.out << "\nTrials needed to reach a test loss, without and with local search\n\n"
              << saving_table(saved);
}

}  // namespace

void add_budget(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "budget", "From finished trials: the loss that so many trials reach, and what search saves");
  auto o = std::make_shared<BudgetOptions>();
  command->add_option("TRIALS", o->files, "trials.jsonl of one or more searches by tune")
      ->type_name("")
      ->required();
  command
      ->add_option("--target", o->target,
                   "a test loss to reach; by default what a quarter, half and all\n"
                   "of the trials without local search reach")
      ->type_name("X");
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    command->add_option(name, value, help)
        ->type_name(type)
        ->capture_default_str()
        ->check(what_is_empty);
  };
  option("--resamples", o->resamples, "N", "of the bootstrap for the interval of the factor");
  option("--seed", o->seed, "N", "of the bootstrap; the curves are exact");
  option("--out", o->out, "DIR", "for budget.json, budget.tsv and the picture");
  command->footer(
      "The curves are means over all ways to draw so many of the trials. The factor is\n"
      "how many times fewer trials a loss takes with local search; <= and >= say that\n"
      "it is a bound, where one of the curves does not reach the loss.\n"
      "\n"
      "Example:\n  " +
      program.get_name() +
      " budget results/comet/trials.jsonl \\\n"
      "    results/comet_search/trials.jsonl");
  command->callback([o, console] { budget(*o, console); });
}

}  // namespace programs
