// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <programs/base/console.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/file_lock.hpp>
#include <programs/base/files.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/json.hpp>
#include <programs/base/kinds.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>

namespace programs {

/// \brief How a program speaks of its comparison, and what there is to compare.
/// \tparam Options  the program's \tparam Data  the program's: what `load` gives
template <class Options, class Data>
struct CompareWords {
  /// Of a row that is fitted at once instead of being trained.
  using Fit = std::function<RunResult(const Options&, const Data&)>;

  const char* what = "";           ///< the command does
  const char* data = "data";       ///< what trainings are on
  std::vector<std::string> gates;  ///< what is compared if nothing else is asked for
  std::vector<std::string> rows;   ///< all that can be trained
  const char* rows_help = "";      ///< of the option that names some of them
  /// Rows that are others with other options, by their names: {"gate": "comet", "spread": .1}.
  std::map<std::string, Json> variants = {};
  std::map<std::string, Fit> fits = {};                  ///< rows beside those
  std::function<bool(const std::string& row)> is_dense;  ///< no mixture: has no order of experts
  ResultWords results;
  const char* table = "compare.json";  ///< the file
  std::vector<std::string> more = {};  ///< options beside the usual ones
  bool keeps_models = false;           ///< of its runs, unless it is told not to
  std::function<std::vector<Plot>(const std::vector<ResultRow>&)> plots = {};  ///< may be empty
  const char* plots_help = "";
};

namespace detail {

/// \tparam Options  of a training
template <class Options>
struct CompareOptions {
  Options train;
  std::vector<std::string> gates;
  std::vector<std::string> searches = {no_search};
  std::vector<std::int64_t> seeds = {1};
  bool resume = false;
  bool plots = false;
};

/// What a comparison was made of.
struct ComparisonHead {
  std::string data;    ///< what trainings are on, "text"
  std::string source;  ///< of the data
  std::string length;  ///< "6 epochs"
  std::vector<std::int64_t> seeds;
};

/// Writes the table as compare.md and as `table`, and prints it.
void write_comparison(const std::filesystem::path& folder, const char* table,
                      const ComparisonHead& head, const std::vector<ResultRow>& rows,
                      const ResultWords& words, const Console& console);

/// Keeps other comparisons out of a folder for as long as the lock is held. \throws FileError if
/// one is under way there
[[nodiscard]] FileLock hold_comparison(const std::filesystem::path& folder);

/// \brief Every row with every seed, a training each.
template <class Options, class Data>
class Comparison {
 public:
  /// Nothing is owned.
  Comparison(const CompareOptions<Options>& options, const CompareWords<Options, Data>& words,
             const Console& console)
      : options_(options), words_(words), console_(console) {
    for (const std::string& gate : options.gates) {
      const bool is_alone = is_fitted(gate) || words.is_dense(gate);
      for (const std::string& search : options.searches)
        if (!is_alone || search == options.searches.front())
          rows_.push_back({gate, is_alone ? no_search : search, {}});
    }
  }

  /// \throws Interrupted if an orderly end was asked for
  void compare() {
    check_rows();
    for (const std::int64_t seed : options_.seeds) run_seed(seed);
    const Options& train = options_.train;
    write_comparison(folder_, words_.table,
                     {.data = words_.data,
                      .source = source_,
                      .length = train.steps > 0 ? counted(train.steps, " step")
                                                : counted(train.epochs, " epoch"),
                      .seeds = options_.seeds},
                     rows_, words_.results, console_);
    if (options_.plots) draw(words_.plots(rows_), folder_, console_);
  }

 private:
  [[nodiscard]] static std::string counted(std::int64_t count, const char* what) {
    return std::to_string(count) + what + (count == 1 ? "" : "s");
  }

  [[nodiscard]] bool is_fitted(const std::string& row) const { return words_.fits.contains(row); }

  [[nodiscard]] Options options_of(const ResultRow& row, std::int64_t seed) const {
    Options train = options_.train;
    if (const auto variant = words_.variants.find(row.gate); variant != words_.variants.end()) {
      table_of(train).set(variant->second);
    } else {
      train.gate = row.gate;
    }
    train.local_search = row.local_search;
    train.seed = seed;
    const std::string search = words_.results.has_local_search ? "-" + row.local_search : "";
    train.out = (folder_ / (row.gate + search + "-seed" + std::to_string(seed))).string();
    return train;
  }

  /// All of them, before the first takes its time.
  void check_rows() const {
    expect_once("--gates", options_.gates);
    expect_once("--local-searches", options_.searches);
    expect_once("--seeds", options_.seeds);
    for (const std::int64_t seed : options_.seeds)
      for (const ResultRow& row : rows_)
        if (!is_fitted(row.gate)) check(options_of(row, seed));
  }

  void run_seed(std::int64_t seed) {
    const Interrupted ended("what is finished is in " + folder_.string() + "; --resume goes on");
    Options of_data = options_.train;
    of_data.seed = seed;
    const Data data = load(of_data);
    if constexpr (requires { tell_notes(data, console_); })
      if (source_.empty()) tell_notes(data, console_);
    source_ = data.source;
    if (!held_) held_.emplace(hold_comparison(folder_));
    const InterruptGuard guard;
    for (ResultRow& row : rows_) {
      try {
        row.runs.push_back(result_of(options_of(row, seed), data));
      } catch (const Interrupted&) {
        throw ended;
      } catch (const Diverged& error) {
        throw Diverged(options_of(row, seed).out + ": " + error.what());
      }
      // Asked for after the run's last step: the guard would forget it.
      if (is_interrupted()) throw ended;
    }
  }

  [[nodiscard]] RunResult result_of(const Options& train, const Data& data) const {
    if (const auto fit = words_.fits.find(train.gate); fit != words_.fits.end())
      return fit->second(train, data);
    const auto finished = options_.resume ? finished_run(train, data) : std::nullopt;
    return finished ? *finished : run(train, data, console_);
  }

  const CompareOptions<Options>& options_;
  const CompareWords<Options, Data>& words_;
  const Console& console_;
  std::filesystem::path folder_ =
      options_.train.out.empty() ? "results/compare" : options_.train.out;
  std::vector<ResultRow> rows_;
  std::string source_;
  std::optional<FileLock> held_;
};

}  // namespace detail

/// \brief The sub-command `compare`. \tparam Options  the program's, for `table_of`, `check`,
/// `load`, `finished_run` and `run` of its namespace
template <class Options, class Data>
void add_compare(CLI::App& program, const Console& console,
                 const CompareWords<Options, Data>& words) {
  auto* command = program.add_subcommand("compare", words.what);
  auto o = std::make_shared<detail::CompareOptions<Options>>();
  o->gates = words.gates;
  const OptionTable table = table_of(o->train);
  add_options(*command, table);
  std::vector<std::string> rows = words.rows;
  for (const auto& fit : words.fits) rows.push_back(fit.first);
  for (const auto& variant : words.variants) rows.push_back(variant.first);
  add_list(*command, "--gates", o->gates, "GATE,...", words.rows_help)->check(one_of(rows));
  if (words.results.has_local_search)
    add_list(*command, "--local-searches", o->searches, "SEARCH,...", "with which local searches")
        ->check(one_of(local_search_names()));
  add_list(*command, "--seeds", o->seeds, "N,...",
           "each run once per seed; the table has means and errors");
  add_options(*command, table, words.more);
  add_option(*command, table["out"])
      ->description(std::string("for compare.md, ") + words.table +
                    " and a directory per run (default results/compare)");
  if (words.keeps_models) {
    o->train.weights = true;
    command->add_flag_callback(
        "--no-weights", [o] { o->train.weights = false; },
        "do not write a model.safetensors for every run");
  }
  if (words.plots) command->add_flag("--plots", o->plots, words.plots_help);
  command->add_flag("--resume", o->resume,
                    "do not repeat runs that DIR holds already, made with the same options");
  command->callback(
      [o, words, console] { detail::Comparison<Options, Data>(*o, words, console).compare(); });
}

}  // namespace programs
