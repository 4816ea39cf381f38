// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/run.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/report/cost_plots.hpp>
#include <programs/base/files.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/result_table.hpp>

namespace programs::next_character {
namespace {

struct CompareOptions {
  TrainOptions train;
  std::vector<std::string> gates = {"comet", "top_k", dense, dense_wide};
  std::vector<std::int64_t> seeds = {1};
  bool resume = false;
  bool plots = false;
};

std::filesystem::path folder_of(const CompareOptions& o) {
  return o.train.out.empty() ? "results/compare" : o.train.out;
}

/// The runs of a seed, one of each gate.
void run_seed(CompareOptions o, std::int64_t seed, std::vector<ResultRow>& rows,
              std::string& source, const Console& console) {
  const std::filesystem::path out = folder_of(o);
  const Interrupted ended("what is finished is in " + out.string() + "; --resume goes on");
  o.train.seed = seed;
  const Text text = load(o.train);
  source = text.source;
  const InterruptGuard guard;
  for (ResultRow& row : rows) {
    o.train.gate = row.gate;
    o.train.out = (out / (row.gate + "-seed" + std::to_string(seed))).string();
    auto result = o.resume ? finished_run(o.train, text) : std::nullopt;
    try {
      if (!result) result = run(o.train, text, console);
    } catch (const Interrupted&) {
      throw ended;
    }
    row.runs.push_back(*result);
    // Asked for after the run's last step: the guard would forget it.
    if (is_interrupted()) throw ended;
  }
}

void compare(CompareOptions o, const Console& console) {
  const std::filesystem::path out = folder_of(o);
  std::vector<ResultRow> rows;
  for (const std::string& gate : o.gates) {
    o.train.gate = gate;
    check(o.train);
    rows.push_back({gate, no_search, {}});
  }
  std::string source;
  for (const std::int64_t seed : o.seeds) run_seed(o, seed, rows, source, console);
  make_directories(out);
  write_atomically(out / "compare.md", result_markdown(rows, result_words()));
  write_atomically(
      out / "result.json",
      Json{{"source", source}, {"seeds", o.seeds}, {"rows", to_json(rows)}}.dump(2) + "\n");
  console.out << "text: " << source << ", " << o.train.steps << " steps, seeds:";
  for (const std::int64_t seed : o.seeds) console.out << ' ' << seed;
  console.out << '\n' << result_table(rows, result_words());
  if (o.plots) draw(cost_plots(rows), out, console);
}

}  // namespace

void add_compare(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "compare", "Train several gates and dense networks on the same text and print one table");
  auto o = std::make_shared<CompareOptions>();
  const OptionTable table = table_of(o->train);
  add_options(*command, table);
  add_list(*command, "--gates", o->gates, "GATE,...", "which gates and dense networks")
      ->check(one_of(row_names()));
  add_list(*command, "--seeds", o->seeds, "N,...",
           "each run once per seed; the table has means and errors");
  add_option(*command, table["split_seed"]);
  add_option(*command, table["out"])
      ->description(
          "for compare.md, result.json and a directory per run (default results/compare)");
  o->train.weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->train.weights = false; },
      "do not write a model.safetensors for every run");
  command->add_flag("--plots", o->plots,
                    "draw bits against multiply-adds and against seconds, with gnuplot");
  command->add_flag("--resume", o->resume,
                    "do not repeat runs that DIR holds already, made with the same options");
  command->callback([o, console] { compare(*o, console); });
}

}  // namespace programs::next_character
