// SPDX-License-Identifier: MIT
#pragma once

#include <array>
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
#include <programs/commands/training_inputs.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>
#include <programs/training/run_files.hpp>

namespace programs {

/// \brief How a program speaks of its comparison, and what there is to compare.
/// \tparam Options  the program's \tparam Data  the program's: what `load` gives
template <class Options, class Data>
struct CompareWords {
  /// Of a row that is fitted at once instead of being trained.
  using Fit = std::function<RunResult(const Options&, const Data&)>;
  /// Options of the dense row that costs what a run was found to cost.
  using Twin = std::function<Json(const Data&, const RunResult&)>;

  const char* what = "";           ///< the command does
  const char* data = "data";       ///< what trainings are on
  std::vector<std::string> gates;  ///< what is compared if nothing else is asked for
  std::vector<std::string> rows;   ///< all that can be trained
  const char* rows_help = "";      ///< of the option that names some of them
  /// Rows that are others with other options, by their names: {"gate": "comet", "spread": .1}.
  std::map<std::string, Json> variants = {};
  /// The same of names that say them, "dense_768"; null for other names.
  std::function<Json(const std::string& row)> by_name = {};
  /// What there is to say above the table of options that all rows have; may be empty.
  std::function<std::string(const Options&)> remark = {};
  std::map<std::string, Fit> fits = {};                  ///< rows beside those
  std::function<bool(const std::string& row)> is_dense;  ///< no mixture: has no order of experts
  Twin twin = {};                                        ///< of a mixture; may be empty
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
  bool twins = false;
};

/// The file with the table for people.
inline constexpr const char* table_in_words = "compare.md";

/// What a comparison was made of.
struct ComparisonHead {
  std::string data;    ///< what trainings are on, "text"
  std::string source;  ///< of the data
  std::string length;  ///< "6 epochs"
  std::string remark;  ///< may be empty
  std::vector<std::int64_t> seeds;
};

/// Writes the table as compare.md and as `table`, and prints it.
void write_comparison(const std::filesystem::path& folder, const char* table,
                      const ComparisonHead& head, const std::vector<ResultRow>& rows,
                      const ResultWords& words, const Console& console);

/// Keeps other comparisons out of a folder for as long as the lock is held, and removes what a crash
/// kept from becoming their tables.
/// \throws FileError if one is under way there
[[nodiscard]] FileLock hold_comparison(const std::filesystem::path& folder, const char* table);

/// \brief Every row with every seed, a training each.
template <class Options, class Data>
class Comparison {
 public:
  /// Nothing is owned.
  Comparison(const CompareOptions<Options>& options, const CompareWords<Options, Data>& words,
             const Console& console)
      : options_(options), words_(words), console_(console) {
    for (const std::string& gate : options.gates) {
      const bool is_mixture = !is_fitted(gate) && !words.is_dense(gate);
      if (!is_mixture) rows_.push_back({{gate, no_search, {}}});
      const std::optional<std::string> own = search_of(gate);
      if (is_mixture && own) add_mixture(gate, *own);
      if (is_mixture && !own)
        for (const std::string& search : options.searches) add_mixture(gate, search);
    }
  }

  /// \param command  as it was given
  /// \throws Interrupted if an orderly end was asked for
  void compare(const CLI::App& command) {
    check_rows();
    if (!options_.train.quiet) tell_unheeded_by_rows(command);
    for (const std::int64_t seed : options_.seeds) run_seed(seed);
    const Options& train = options_.train;
    write_comparison(folder_, words_.table,
                     {.data = words_.data,
                      .source = source_,
                      .length = train.steps > 0 ? counted(train.steps, " step")
                                                : counted(train.epochs, " epoch"),
                      .remark = words_.remark ? words_.remark(train) : "",
                      .seeds = options_.seeds},
                     table_rows(), words_.results, console_);
    if (options_.plots) draw(words_.plots(table_rows()), folder_, console_);
  }

 private:
  /// A row of the table, and the dense one beneath it.
  struct Row {
    ResultRow own;
    std::optional<ResultRow> twin = {};
  };

  void add_mixture(const std::string& gate, const std::string& search) {
    rows_.push_back({{gate, search, {}}});
    if (options_.twins) rows_.back().twin = ResultRow{gate + twin_ending, search, {}};
  }

  [[nodiscard]] std::vector<ResultRow> table_rows() const {
    std::vector<ResultRow> list;
    for (const Row& row : rows_) {
      list.push_back(row.own);
      if (row.twin) list.push_back(*row.twin);
    }
    return list;
  }

  [[nodiscard]] static std::string counted(std::int64_t count, const char* what) {
    return std::to_string(count) + what + (count == 1 ? "" : "s");
  }

  [[nodiscard]] bool is_fitted(const std::string& row) const { return words_.fits.contains(row); }

  /// Of a row that is another one with other options; null for one that has those of all.
  [[nodiscard]] Json variant_of(const std::string& row) const {
    if (const auto found = words_.variants.find(row); found != words_.variants.end())
      return found->second;
    return words_.by_name ? words_.by_name(row) : Json();
  }

  /// Of a row that has one of its own, whatever the others have.
  [[nodiscard]] std::optional<std::string> search_of(const std::string& row) const {
    const Json variant = variant_of(row);
    if (!variant.contains("local_search")) return std::nullopt;
    return variant.at("local_search").template get<std::string>();
  }

  [[nodiscard]] Options options_of(const ResultRow& row, std::int64_t seed) const {
    return options_of(row, seed, variant_of(row.gate));
  }
  /// \param others  than those of the command line; may be null
  [[nodiscard]] Options options_of(const ResultRow& row, std::int64_t seed,
                                   const Json& others) const {
    Options train = options_.train;
    train.gate = row.gate;
    train.local_search = row.local_search;
    if (!others.is_null()) table_of(train).set(others);
    train.seed = seed;
    train.out = (folder_ / run_name(row, seed, words_.results)).string();
    return train;
  }

  /// All of them, before the first takes its time.
  void check_rows() const {
    expect_once("--gates", options_.gates);
    expect_once("--local-searches", options_.searches);
    expect_once("--seeds", options_.seeds);
    refuse_inputs("--out", folder_, std::array{table_in_words, words_.table},
                  training_inputs(options_.train));
    for (const std::int64_t seed : options_.seeds) {
      expect_at_least("--seeds", seed, 0);
      for (const Row& row : rows_) {
        if (is_fitted(row.own.gate)) continue;
        const Options options = options_of(row.own, seed);
        check(options);
        refuse_run_files("--out", options.out, training_inputs(options));
      }
      if constexpr (requires { check_inputs(of_data(seed)); }) check_inputs(of_data(seed));
    }
  }

  void tell_unheeded_by_rows(const CLI::App& command) const {
    std::vector<Options> trainings;
    for (const Row& row : rows_)
      if (!is_fitted(row.own.gate))
        trainings.push_back(options_of(row.own, options_.seeds.front()));
    std::vector<OptionTable> tables;
    for (Options& options : trainings) tables.push_back(table_of(options));
    Options plain;
    tell_unheeded(command, tables, table_of(plain), console_);
  }

  [[nodiscard]] Options of_data(std::int64_t seed) const {
    Options options = options_.train;
    options.seed = seed;
    return options;
  }

  /// What only the data can tell, before the first row takes its time.
  void check_rows(std::int64_t seed, const Data& data) const {
    for (const Row& row : rows_)
      if constexpr (requires(const Options& o) { check(o, data); })
        if (!is_fitted(row.own.gate)) check(options_of(row.own, seed), data);
  }

  void run_seed(std::int64_t seed) {
    const Data data = load(of_data(seed));
    check_rows(seed, data);
    if constexpr (requires { tell_notes(data, console_); })
      if (source_.empty()) tell_notes(data, console_);
    source_ = data.source;
    if (!held_) held_.emplace(hold_comparison(folder_, words_.table));
    const InterruptGuard guard;
    for (Row& row : rows_) {
      row.own.runs.push_back(result_of(options_of(row.own, seed), data));
      if (!row.twin) continue;
      const Json same_cost = words_.twin(data, row.own.runs.back());
      row.twin->runs.push_back(result_of(options_of(*row.twin, seed, same_cost), data));
    }
  }

  [[nodiscard]] RunResult result_of(const Options& train, const Data& data) const {
    const Interrupted ended("what is finished is in " + folder_.string() + "; --resume goes on");
    try {
      RunResult result = trained(train, data);
      // Asked for after the run's last step: the guard would forget it.
      if (is_interrupted()) throw ended;
      return result;
    } catch (const Interrupted&) {
      throw ended;
    } catch (const Diverged& error) {
      throw Diverged(train.out + ": " + error.what());
    }
  }

  [[nodiscard]] RunResult trained(const Options& train, const Data& data) const {
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
  std::vector<Row> rows_;
  std::string source_;
  std::optional<FileLock> held_;
};

}  // namespace detail

/// \brief The sub-command `compare`.
/// \tparam Options  the program's, for `table_of`, `check`, `load`, `finished_run` and `run` of its
///                  namespace, and, if there are any, `check_inputs` of the files that a seed needs
///                  and `check` of options with the data, both before anything is trained
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
  add_list(*command, "--gates", o->gates, "GATE,...", words.rows_help)
      ->check(one_of(rows, [by_name = words.by_name](const std::string& row) {
        return by_name && !by_name(row).is_null();
      }));
  if (words.results.has_local_search)
    add_list(*command, "--local-searches", o->searches, "SEARCH,...", "with which local searches")
        ->check(one_of(table["local_search"].choices));
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
  if (words.twin)
    command->add_flag("--twins", o->twins,
                      "below each mixture a dense row that costs as many multiply-adds as the "
                      "mixture\nwas found to cost");
  if (words.plots) command->add_flag("--plots", o->plots, words.plots_help);
  command->add_flag("--resume", o->resume,
                    "do not repeat runs that DIR holds already, made with the same options");
  command->callback([o, command, words, console] {
    detail::Comparison<Options, Data>(*o, words, console).compare(*command);
  });
}

}  // namespace programs
