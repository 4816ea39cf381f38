// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/result_table.hpp>

namespace programs::next_character {
namespace {

void train_command(TrainOptions options, const Console& console) {
  check(options);
  if (options.out.empty()) options.out = "results/" + options.gate;
  const InterruptGuard guard;
  const Text text = load(options);
  const RunResult result = run(options, text, console);
  console.out << result_table({{options.gate, options.local_search, {result}}}, result_words());
}

}  // namespace

void add_train(CLI::App& program, const Console& console) {
  auto* command =
      program.add_subcommand("train", "Train a model that says which character comes next");
  auto o = std::make_shared<TrainOptions>();
  const OptionTable table = table_of(*o);
  add_options(*command, table);
  add_options(*command, table, {"gate", "seed", "split_seed", "out", "from_pretrained"});
  command->get_option("--out")->description(
      "for metrics.jsonl, steps.jsonl, model.safetensors and result.json\n"
      "(default results/GATE)");
  o->checkpoint_every.reset();
  add_option(*command, table["checkpoint_every"])
      ->description("training steps; 0 for none (default after every validation)");
  command->add_flag("--resume", o->resume,
                    "go on from the checkpoint in DIR, to the same result as if never stopped");
  o->weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->weights = false; }, "do not write model.safetensors");
  command->callback([o, console] { train_command(*o, console); });
}

}  // namespace programs::next_character
