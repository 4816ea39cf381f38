// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/commands/trainee.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/study/search_space.hpp>
#include <programs/study/tuner.hpp>
#include <programs/training/run.hpp>

namespace programs::next_character {
namespace {

struct TuneOptions {
  TrainOptions train;
  std::string space;
  int trials = 100;
  int parallel = 0;
  bool resume = false;
  std::string results = "results";
  std::string name = "tune";
};

void tune(TuneOptions o, const SearchSpace& space, const Console& console) {
  check(o.train);
  expect_at_least("--trials", o.trials, 1);
  expect_at_least("--parallel", o.parallel, 0);
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (o.parallel == 0) o.parallel = cores;
  o.parallel = std::min(o.parallel, o.trials);
  if (o.train.threads == 0) o.train.threads = std::max(1, cores / o.parallel);
  const std::filesystem::path folder = std::filesystem::path(o.results) / o.name;
  const Text text = load(o.train);
  if (!o.train.quiet)
    console.err << data_line(text.source, counts_of(text)) << '\n'
                << o.trials << " trials, " << o.parallel << " at once; results in "
                << folder.string() << std::endl;
  const InterruptGuard guard;
  const TunerOptions options{.folder = folder,
                             .trials = o.trials,
                             .parallel = o.parallel,
                             .resume = o.resume,
                             .quiet = o.train.quiet,
                             .seed = o.train.seed,
                             .split_seed = o.train.split_seed.value_or(o.train.seed)};
  const CharacterTrainee trainee(o.train, text, console);
  Tuner(options, space, trainee, console).run();
}

}  // namespace

void add_tune(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "tune", "Search hyper-parameters at random, in a folder that survives crashes");
  auto o = std::make_shared<TuneOptions>();
  o->train.threads = 1;
  const OptionTable table = table_of(o->train);
  add_options(*command, table);
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  o->train.weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->train.weights = false; },
      "do not write a model.safetensors for every trial");
  add_options(*command, table, {"gate"});
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
  command->footer(
      "Options that FILE does not name have the values given here, for every trial.\n"
      "DIR/NAME gets trials.jsonl, a line per finished trial; summary.md, summary.json\n"
      "and space.json; and a folder per trial below trials/.\n"
      "\n"
      "Example:\n"
      "  next_character tune --space top_k.json --trials 40 --steps 1000");
  command->callback([o, command, console] {
    TrainOptions tried;
    const SearchSpace space = SearchSpace::read(o->space, table_of(tried));
    refuse_twice(*command, space.json(), o->space);
    tune(*o, space, console);
  });
}

}  // namespace programs::next_character
