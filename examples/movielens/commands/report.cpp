// SPDX-License-Identifier: MIT
#include <filesystem>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/data/line_reader.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/plots.hpp>
#include <programs/study/trials.hpp>

namespace programs::movielens {
namespace {

std::vector<Json> lines_of(const std::filesystem::path& file) {
  std::vector<Json> lines;
  LineReader reader(file, LineReader::Controls::refused, LineReader::Content::any);
  while (reader.next()) {
    lines.push_back(parse_json(reader.line()));
    if (!lines.back().is_object()) throw FileError(file, reader.number(), "is not a JSON object");
  }
  return lines;
}

/// \param use  makes plots of the lines of a file, if there are any
template <class Use>
void add_plots(const std::filesystem::path& file, Use use) {
  if (!std::filesystem::exists(file)) return;
  const std::vector<Json> lines = lines_of(file);
  if (lines.empty()) return;
  try {
    use(lines);
  } catch (const Json::exception&) {
    throw FileError(file, "is not what a training writes");
  }
}

/// Of the two tasks.
PlotWords words() {
  return {.tasks = {"watched", "rating"},
          .losses = {{"mse", "MSE", "MSE of the rating"},
                     {"bce", "cross-entropy", "cross-entropy of watched"}},
          .loss_units = " (MSE in squared stars, cross-entropy in nats)",
          .score = {"auc", "AUC (0.5 = chance, 1 = perfect)", "AUC of \"watched\""}};
}

void report(const std::filesystem::path& folder, std::string out, const Console& console) {
  std::vector<Plot> plots;
  const auto add = [&](std::vector<Plot> more) {
    plots.insert(plots.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
  };
  add_plots(folder / "metrics.jsonl",
            [&](const auto& epochs) { add(epoch_plots(epochs, words())); });
  add_plots(folder / "steps.jsonl", [&](const auto& steps) { add({sparsity_plot(steps)}); });
  if (std::filesystem::exists(folder / "trials.jsonl")) {
    const std::vector<Trial> trials = read_trials(folder / "trials.jsonl");
    if (!ranked(trials).empty()) {
      add(trial_plots(trials));
      if (ranked(trials).size() == trials.size()) add({budget_plot(budget_groups(trials))});
    }
  }
  if (plots.empty())
    throw FileError(folder,
                    "holds no metrics.jsonl, steps.jsonl or trials.jsonl with something in it");
  const std::filesystem::path directory =
      out.empty() ? folder / "report" : std::filesystem::path(out);
  make_directories(directory);
  draw(plots, directory, console);
  for (const Plot& plot : plots)
    for (const char* ending : {".png", ".svg", ".tsv", ".gp"})
      if (const auto file = directory / (plot.name + ending); std::filesystem::exists(file))
        console.out << file.string() << '\n';
}

}  // namespace

void add_report(CLI::App& program, const Console& console) {
  auto* command =
      program.add_subcommand("report", "Draw what a training or a search wrote, with gnuplot");
  struct Options {
    std::string folder;
    std::string out;
  };
  auto o = std::make_shared<Options>();
  command->add_option("DIR", o->folder, "of a training by train, or of a search by tune")
      ->type_name("")
      ->required();
  command->add_option("--out", o->out, "for NAME.png, .svg, .tsv and .gp (default DIR/report)")
      ->type_name("DIR");
  command->footer(
      "Of a training: loss, AUC, experts per sample, load per expert and, with a local\n"
      "search, the order of the experts. Of a search: trials, Pareto front and budget.\n"
      "\n"
      "Example:\n"
      "  movielens report results/comet");
  command->callback([o, console] { report(o->folder, o->out, console); });
}

}  // namespace programs::movielens
