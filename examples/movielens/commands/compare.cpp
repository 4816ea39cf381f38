// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/data/dataset.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/model/biases.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/files.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/result_table.hpp>

namespace programs::movielens {
namespace {

std::vector<std::string> comparable_rows() {
  std::vector<std::string> names = row_names();
  names.emplace_back(biases_row);
  return names;
}

RunResult run_biases(const TrainOptions& options, const Dataset& data) {
  const BiasFit fit = fit_biases(data.rows, task_weights(options));
  return {.training = {.validation = fit.validation, .test = fit.test},
          .parameters = fit.parameters};
}

struct CompareOptions {
  TrainOptions train;
  std::vector<std::string> gates = {"comet", "top_k"};
  std::vector<std::string> searches = {no_search};
  std::vector<std::int64_t> seeds = {1};
  bool resume = false;
};

void compare(CompareOptions o, const Console& console) {
  const auto each_run = [&](auto&& use) {
    for (const std::string& gate : o.gates) {
      const bool is_alone = gate == biases_row || is_dense(gate);  // has no order of experts
      for (const std::string& search : o.searches) {
        if (is_alone && search != o.searches.front()) continue;
        o.train.gate = gate;
        o.train.local_search = is_alone ? no_search : search;
        use();
      }
    }
  };
  for (const std::int64_t seed : o.seeds) {
    o.train.seed = seed;
    each_run([&] {
      if (o.train.gate != biases_row) check(o.train);
    });
  }
  const std::filesystem::path out = o.train.out.empty() ? "results/compare" : o.train.out;

  std::vector<ResultRow> rows;
  each_run([&] { rows.push_back({o.train.gate, o.train.local_search, {}}); });
  std::string source;
  for (const std::int64_t seed : o.seeds) {
    o.train.seed = seed;
    const Dataset data = load(o.train);
    if (source.empty()) print_notes(data.notes, console.err);
    const InterruptGuard guard;
    source = data.source;
    std::size_t row = 0;
    each_run([&] {
      o.train.out =
          (out / (o.train.gate + "-" + o.train.local_search + "-seed" + std::to_string(seed)))
              .string();
      const Interrupted ended("what is finished is in " + out.string() + "; --resume goes on");
      auto result =
          o.resume && o.train.gate != biases_row ? finished_run(o.train, data) : std::nullopt;
      try {
        if (o.train.gate == biases_row) {
          result = run_biases(o.train, data);
        } else if (!result) {
          result = run(o.train, data, console);
        }
      } catch (const Interrupted&) {
        throw ended;
      }
      rows[row++].runs.push_back(*result);
      // Asked for after the run's last step: the guard would forget it.
      if (is_interrupted()) throw ended;
    });
  }
  make_directories(out);
  write_atomically(out / "compare.md", result_markdown(rows, result_words()));
  write_atomically(
      out / "compare.json",
      Json{{"source", source}, {"seeds", o.seeds}, {"rows", to_json(rows)}}.dump(2) + "\n");
  console.out << "data: " << source << ", " << o.train.epochs << " epochs, seeds:";
  for (const std::int64_t seed : o.seeds) console.out << ' ' << seed;
  console.out << '\n' << result_table(rows, result_words());
}

}  // namespace

void add_compare(CLI::App& program, const Console& console) {
  auto* command =
      program.add_subcommand("compare", "Train several gates on the same rows and print one table");
  auto o = std::make_shared<CompareOptions>();
  const OptionTable table = table_of(o->train);
  add_options(*command, table);
  add_list(
      *command, "--gates", o->gates, "GATE,...",
      "which gates, dense networks of the cost of k experts (dense, dense_per_task), and a bias\n"
      "per user and per item (biases)")
      ->check(one_of(comparable_rows()));
  add_list(*command, "--local-searches", o->searches, "SEARCH,...", "with which local searches")
      ->check(one_of(local_search_names()));
  add_list(*command, "--seeds", o->seeds, "N,...",
           "each run once per seed; the table has means and errors");
  add_option(*command, table["out"])
      ->description(
          "for compare.md, compare.json and a directory per run (default results/compare)");
  command->add_flag("--resume", o->resume,
                    "do not repeat runs that DIR holds already, made with the same options");
  command->callback([o, console] { compare(*o, console); });
}

}  // namespace programs::movielens
