// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/report.hpp>
#include <movielens/run.hpp>
#include <movielens/train_options.hpp>

namespace movielens {
namespace {

void train_command(TrainOptions options, const Console& console) {
  check(options);
  if (options.out.empty()) options.out = "results/" + options.gate;
  const RunResult result = run(options, load(options), console);
  console.out << result_table({{options.gate, options.local_search, {result}}});
}

}  // namespace

void add_train(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "train", "Train the two-task model: has the user watched the movie, and how many stars?");
  auto o = std::make_shared<TrainOptions>();
  add_options(*command, *o);
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  option("--gate", o->gate, "GATE", "how experts are chosen")->check(CLI::IsMember(gate_names()));
  option("--local-search", o->local_search, "SEARCH", "over the order of the experts")
      ->check(CLI::IsMember(local_search_names()));
  option("--seed", o->seed, "N", "split, negatives, start and noise are functions of it");
  option("--split-seed", o->split_seed, "N", "of split and negatives, if not that of --seed");
  option("--out", o->out, "DIR", "for metrics.jsonl and result.json (default results/GATE)");
  command->callback([o, console] { train_command(*o, console); });
}

}  // namespace movielens
