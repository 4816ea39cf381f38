// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <programs/base/console.hpp>
#include <programs/base/files.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/option.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/training_inputs.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>
#include <programs/training/run_files.hpp>

namespace programs {

/// How a program speaks of a training.
struct TrainWords {
  const char* name = "train";              ///< of the sub-command
  const char* what = "";                   ///< it is
  std::vector<std::string> choices;        ///< options beside the usual ones
  const char* checkpoint_every = nullptr;  ///< of the option; null for the usual words
};

/// \brief The sub-command `train`, or by another name.
/// \tparam Options  the program's, for `table_of`, `check`, `load` and `run` of its namespace
template <class Options>
void add_train(CLI::App& program, const Console& console, const TrainWords& words,
               const ResultWords& result_words) {
  auto* command = program.add_subcommand(words.name, words.what);
  auto o = std::make_shared<Options>();
  const OptionTable table = table_of(*o);
  add_options(*command, table);
  add_options(*command, table, words.choices);
  add_options(*command, table, {"seed", "split_seed", "out", "from_pretrained"});
  command->get_option("--out")->description(
      "for metrics.jsonl, steps.jsonl, model.safetensors and result.json\n"
      "(default results/GATE)");
  o->checkpoint_every.reset();
  auto* every = add_option(*command, table["checkpoint_every"]);
  if (words.checkpoint_every != nullptr) every->description(words.checkpoint_every);
  add_options(*command, table, {"record", "record_every"});
  command->add_flag("--resume", o->resume,
                    "go on from the checkpoint in DIR, to the same result as if never stopped");
  o->weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->weights = false; }, "do not write model.safetensors");
  command->callback([o, command, console, result_words] {
    Options options = *o;
    if (options.out.empty()) options.out = "results/" + options.gate;
    check(options);
    const Inputs inputs = training_inputs(options);
    refuse_input("--record", options.record, inputs);
    refuse_run_files("--out", options.out, inputs);
    refuse_as_record(options.record, options.out);
    const InterruptGuard guard;
    const auto data = load(options);
    if constexpr (requires { tell_notes(data, console); }) tell_notes(data, console);
    Options plain;
    if (!options.quiet) tell_unheeded(*command, {table_of(options)}, table_of(plain), console);
    const RunResult result = run(options, data, console);
    console.out << "data: " << data.source << '\n'
                << result_table({{options.gate, options.local_search, {result}}}, result_words);
  });
}

}  // namespace programs
