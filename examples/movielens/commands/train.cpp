// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include <movielens/base/interrupt.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/report/report.hpp>
#include <movielens/training/run.hpp>
#include <movielens/training/train_options.hpp>

namespace movielens {
namespace {

void train_command(TrainOptions options, const Console& console) {
  check(options);
  if (options.out.empty()) options.out = "results/" + options.gate;
  const InterruptGuard guard;
  const Dataset data = load(options);
  print_notes(data.notes, console.err);
  const RunResult result = run(options, data, console);
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
  option("--out", o->out, "DIR",
         "for metrics.jsonl, steps.jsonl, model.safetensors and result.json\n"
         "(default results/GATE)");
  option("--from-pretrained", o->from_pretrained, "FILE",
         "start with the weights of this model, of the same users and movies");
  o->checkpoint_every.reset();
  option("--checkpoint-every", o->checkpoint_every, "N",
         "training steps; 0 for none (default once per epoch)");
  command->add_flag("--resume", o->resume,
                    "go on from the checkpoint in DIR, to the same result as if never stopped");
  o->weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->weights = false; }, "do not write model.safetensors");
  command->callback([o, console] { train_command(*o, console); });
}

}  // namespace movielens
