// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include <programs/base/console.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/run_trainee.hpp>
#include <programs/commands/training_inputs.hpp>
#include <programs/study/search_space.hpp>
#include <programs/study/tuner.hpp>
#include <programs/training/run.hpp>
#include <programs/training/run_files.hpp>

namespace programs {
namespace detail {

/// \tparam Options  of a training
template <class Options>
struct TuneOptions {
  Options train;
  std::string space;
  int trials = 100;
  int parallel = 0;
  bool halving = false;
  bool resume = false;
  std::string results = "results";
  std::string name = "tune";
};

template <class Options>
void tune(TuneOptions<Options> o, const SearchSpace& space, const Console& console) {
  check(o.train);
  expect_at_least("--trials", o.trials, 1);
  expect_at_least("--parallel", o.parallel, 0);
  if (o.halving && space.contains("epochs"))
    throw std::invalid_argument("--halving decides on the epochs, and " + o.space +
                                " says them, too");
  if (const std::filesystem::path name = o.name;
      name.empty() || name != name.filename() || o.name == "." || o.name == "..")
    throw std::invalid_argument("--experiment-name is " + in_quotes(o.name) +
                                ", expected the name of a folder in --results");
  // Each is a thread.
  expect_at_most("--parallel", o.parallel, 1024);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (o.parallel == 0) o.parallel = cores;
  o.parallel = std::min(o.parallel, o.trials);
  if (o.train.threads == 0) o.train.threads = std::max(1, cores / o.parallel);
  const std::filesystem::path folder = std::filesystem::path(o.results) / o.name;
  const Inputs inputs = training_inputs(o.train);
  refuse_inputs("--results", folder, search_files, inputs);
  for (int trial = 0; trial < o.trials; ++trial)
    refuse_run_files("--results", trial_folder(folder, trial), inputs);
  const auto data = load(o.train);
  const InterruptGuard guard;
  const TunerOptions options{.folder = folder,
                             .trials = o.trials,
                             .parallel = o.parallel,
                             .epochs = o.train.epochs,
                             .halving = o.halving,
                             .resume = o.resume,
                             .quiet = o.train.quiet,
                             .seed = o.train.seed,
                             .split_seed = o.train.split_seed.value_or(o.train.seed)};
  const RunTrainee trainee(o.train, data, console);
  Tuner tuner(options, space, trainee, console);
  tuner.prepare();
  if constexpr (requires { tell_notes(data, console); }) tell_notes(data, console);
  if (!o.train.quiet)
    console.err << data_line(data.source, counts_of(data)) << '\n'
                << o.trials << " trials, " << o.parallel << " at once; results in "
                << folder.string() << std::endl;
  tuner.run();
}

}  // namespace detail

/// How a program speaks of its search.
struct TuneWords {
  std::vector<std::string> choices = {"gate", "local_search"};  ///< options beside the usual ones
  bool can_halve = true;                                        ///< trainings are counted in epochs
  const char* examples = "";
};

/// \brief The sub-command `tune`.
/// \tparam Options  the program's, for `table_of`, `check`, `load`, `counts_of` and `run` of its
///                  namespace
template <class Options>
void add_tune(CLI::App& program, const Console& console, const TuneWords& words) {
  auto* command = program.add_subcommand(
      "tune", "Search hyper-parameters at random, in a folder that survives crashes");
  auto o = std::make_shared<detail::TuneOptions<Options>>();
  o->train.threads = 1;
  const OptionTable table = table_of(o->train);
  add_options(*command, table);
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)
        ->type_name(type)
        ->capture_default_str()
        ->check(what_is_empty);
  };
  o->train.weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->train.weights = false; },
      "do not write a model.safetensors for every trial");
  add_options(*command, table, words.choices);
  option("--space", o->space, "FILE", "JSON: the options to be searched, and their values")
      ->required();
  option("--trials", o->trials, "N", "trainings, each with options drawn from the space");
  option("--parallel", o->parallel, "N", "trials at once; 0 for one per core");
  command->get_option("--threads")
      ->description(
          "per trial; 0 shares the cores among those at once. The figures do not depend on it");
  add_option(*command, table["seed"])
      ->description("trial I is a function of it and I; so is the split");
  option("--results", o->results, "DIR", "for all searches");
  option("--experiment-name", o->name, "NAME", "of the folder in DIR");
  command->add_flag("--resume", o->resume,
                    "go on with the folder: after a crash, with more trials,\n"
                    "or beside another process that works on it");
  if (words.can_halve)
    command->add_flag("--halving", o->halving,
                      "successive halving: few epochs for every trial, then twice\n"
                      "as many for the better half, and so on up to --epochs");
  command->footer(
      std::string(
          "Options that FILE does not name have the values given here, for every trial.\n"
          "DIR/NAME gets trials.jsonl, a line per finished trial; summary.md, summary.json\n"
          "and space.json; and a folder per trial below trials/.\n"
          "\n") +
      words.examples);
  command->callback([o, command, console] {
    Options tried;
    const SearchSpace space = SearchSpace::read(o->space, table_of(tried));
    refuse_twice(*command, space.json(), o->space);
    detail::tune(*o, space, console);
  });
}

}  // namespace programs
