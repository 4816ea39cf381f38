// SPDX-License-Identifier: MIT
#include <programs/report/folder_report.hpp>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <string_view>
#include <vector>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/study/trials.hpp>

namespace programs {
namespace {

std::vector<Json> lines_of(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  std::vector<Json> lines;
  for (std::string_view rest = content; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    lines.push_back(parse_json(line));
    if (!lines.back().is_object()) throw FileError(file, lines.size(), "is not a JSON object");
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

std::vector<Plot> plots_of(const std::filesystem::path& folder, const PlotWords& words) {
  std::vector<Plot> plots;
  const auto add = [&](std::vector<Plot> more) {
    plots.insert(plots.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
  };
  add_plots(folder / "metrics.jsonl", [&](const auto& epochs) { add(epoch_plots(epochs, words)); });
  add_plots(folder / "steps.jsonl", [&](const auto& steps) { add({sparsity_plot(steps)}); });
  if (!std::filesystem::exists(folder / "trials.jsonl")) return plots;
  const std::vector<Trial> trials = read_trials(folder / "trials.jsonl");
  if (ranked(trials).empty()) return plots;
  add(trial_plots(trials));
  if (ranked(trials).size() == trials.size()) add({budget_plot(budget_groups(trials))});
  return plots;
}

}  // namespace

void report_folder(const std::filesystem::path& folder, const std::string& out,
                   const PlotWords& words, const Console& console) {
  const std::vector<Plot> plots = plots_of(folder, words);
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

}  // namespace programs
