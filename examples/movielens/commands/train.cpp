// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/data/dataset.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/result_table.hpp>

namespace programs::movielens {
namespace {

void train_command(TrainOptions options, const Console& console) {
  check(options);
  if (options.out.empty()) options.out = "results/" + options.gate;
  const InterruptGuard guard;
  const Dataset data = load(options);
  print_notes(data.notes, console.err);
  const RunResult result = run(options, data, console);
  console.out << result_table({{options.gate, options.local_search, {result}}}, result_words());
}

}  // namespace

void add_train(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "train", "Train the two-task model: has the user watched the movie, and how many stars?");
  auto o = std::make_shared<TrainOptions>();
  const OptionTable table = table_of(*o);
  add_options(*command, table);
  add_options(*command, table,
              {"gate", "local_search", "seed", "split_seed", "out", "from_pretrained"});
  command->get_option("--out")->description(
      "for metrics.jsonl, steps.jsonl, model.safetensors and result.json\n"
      "(default results/GATE)");
  o->checkpoint_every.reset();
  add_options(*command, table, {"checkpoint_every"});
  command->add_flag("--resume", o->resume,
                    "go on from the checkpoint in DIR, to the same result as if never stopped");
  o->weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->weights = false; }, "do not write model.safetensors");
  command->callback([o, console] { train_command(*o, console); });
}

}  // namespace programs::movielens
