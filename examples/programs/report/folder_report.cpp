// SPDX-License-Identifier: MIT
#include <programs/report/folder_report.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>
#include <programs/base/kinds.hpp>
#include <programs/report/decision_page.hpp>
#include <programs/report/gnuplot.hpp>
#include <programs/report/run_plots.hpp>
#include <programs/study/trials.hpp>
#include <programs/training/decision_paths.hpp>

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

/// \param use  makes something of the lines of a file, if there are any
template <class Use>
void with_lines(const std::filesystem::path& file, Use use) {
  if (!std::filesystem::exists(file)) return;
  const std::vector<Json> lines = lines_of(file);
  if (lines.empty()) return;
  try {
    use(lines);
  } catch (const Json::exception&) {
    throw FileError(file, "is not what a training writes");
  }
}

/// The object in a file; null if there is no such file.
Json object_in(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return nullptr;
  Json json = parse_json(read_file(file));
  if (!json.is_object()) throw FileError(file, "is not a JSON object");
  return json;
}

/// The table of a comparison, as the one or the other program calls it; false if there is none.
bool read_comparison(const std::filesystem::path& folder, ReportContent& content) {
  for (const char* name : {"compare.json", "result.json"}) {
    const Json json = object_in(folder / name);
    if (!json.is_object() || !json.contains("seeds")) continue;
    try {
      content.rows = result_rows_from(json.at("rows"));
      content.source = json.at("source");
      content.seeds = json.at("seeds").get<std::vector<std::int64_t>>();
    } catch (const Json::exception&) {
      throw FileError(folder / name, "is not what a comparison writes");
    }
    return true;
  }
  return false;
}

/// What is said of figures that do not have a measure of the program's.
std::string of_another_program(const std::out_of_range& error) {
  return std::string("is of another program: ") + error.what();
}

/// What the runs of a comparison wrote, those of a row side by side. Other runs may lie there, too.
RunEpochs epochs_of_runs(const ReportContent& content, const ResultWords& words) {
  RunEpochs epochs;
  for (const ResultRow& row : content.rows) {
    const std::string search = row.local_search == no_search ? "" : "-" + row.local_search;
    for (const std::int64_t seed : content.seeds)
      with_lines(
          content.folder / run_name(row, seed, words) / "metrics.jsonl",
          [&](const std::vector<Json>& lines) { epochs[row.gate + search].push_back(lines); });
  }
  return epochs;
}

/// The way of a few rows through the gates, if a training has left it.
std::string paths_in(const std::filesystem::path& file, const std::vector<std::string>& tasks) {
  if (!std::filesystem::exists(file)) return {};
  try {
    return html_decision_paths(parse_json(read_file(file)), tasks);
  } catch (const Json::exception&) {
  } catch (const std::out_of_range&) {
  }
  throw FileError(file, "is not what a training writes");
}

void read_trials_of(const std::filesystem::path& folder, ReportContent& content) {
  if (!std::filesystem::exists(folder / "trials.jsonl")) return;
  std::vector<Trial> trials = read_trials(folder / "trials.jsonl");
  if (!ranked(trials).empty()) content.trials = std::move(trials);
}

ReportContent content_of(const std::filesystem::path& folder, const ReportWords& words) {
  ReportContent content{.folder = folder};
  const auto add = [&](std::vector<Plot> more) {
    content.plots.insert(content.plots.end(), std::make_move_iterator(more.begin()),
                         std::make_move_iterator(more.end()));
  };
  with_lines(folder / "metrics.jsonl",
             [&](const auto& epochs) { add(epoch_plots(epochs, words.plots)); });
  with_lines(folder / "steps.jsonl", [&](const auto& steps) {
    // A dense network asks none at any step.
    const bool has_experts = std::any_of(steps.begin(), steps.end(), [](const Json& step) {
      return step.at("experts_per_sample") > 0;
    });
    if (has_experts) add({sparsity_plot(steps)});
  });
  read_trials_of(folder, content);
  if (!content.trials.empty()) {
    add(trial_plots(content.trials));
    if (ranked(content.trials).size() == content.trials.size())
      add({budget_plot(budget_groups(content.trials))});
  }
  if (read_comparison(folder, content)) {
    try {
      add(run_plots(epochs_of_runs(content, words.results), words.plots));
      if (words.comparison_plots && !content.rows.empty())
        add(words.comparison_plots(content.rows));
    } catch (const Json::exception&) {
      throw FileError(folder, "holds a metrics.jsonl that is not what a training writes");
    } catch (const std::out_of_range& error) {
      throw FileError(folder, of_another_program(error));
    }
  } else {
    content.result = object_in(folder / "result.json");
    content.paths = paths_in(folder / decision_paths_name, words.plots.tasks);
    const auto above = std::filesystem::absolute(folder).lexically_normal() / "..";
    if (content.result.is_object()) read_comparison(above, content);
  }
  return content;
}

}  // namespace

void report_folder(const std::filesystem::path& folder, const std::string& out,
                   const ReportWords& words, const Console& console) {
  ReportContent content = content_of(folder, words);
  const bool is_comparison = !content.rows.empty() && !content.result.is_object();
  if (content.plots.empty() && !is_comparison)
    throw FileError(folder,
                    "holds no metrics.jsonl, steps.jsonl or trials.jsonl with something in it, and "
                    "no table of compare");
  const std::filesystem::path directory =
      out.empty() ? folder / "report" : std::filesystem::path(out);
  make_directories(directory);
  const std::vector<bool> drawn = draw(content.plots, directory, console);
  for (std::size_t i = 0; i < drawn.size(); ++i)
    content.pictures.push_back(drawn[i] ? read_file(directory / (content.plots[i].name + ".svg"))
                                        : "");
  const std::filesystem::path page = directory / "report.html";
  try {
    write_atomically(page, report_page(content, words));
  } catch (const Json::exception&) {
    throw FileError(folder / "result.json", "is not what a training writes");
  } catch (const std::out_of_range& error) {
    throw FileError(folder, of_another_program(error));
  }
  for (const Plot& plot : content.plots)
    for (const char* ending : {".png", ".svg", ".tsv", ".gp"})
      if (const auto file = directory / (plot.name + ending); std::filesystem::exists(file))
        console.out << file.string() << '\n';
  console.out << page.string() << '\n';
}

}  // namespace programs
