// SPDX-License-Identifier: MIT
#include <programs/report/report_page.hpp>

#include <algorithm>
#include <limits>
#include <sstream>

#include <programs/base/figures.hpp>
#include <programs/base/text_table.hpp>
#include <programs/report/html.hpp>
#include <programs/study/trial_summary.hpp>
#include <programs/training/run.hpp>

namespace programs {
namespace {

std::string heading(const std::string& text) { return "<h2>" + escaped(text) + "</h2>\n"; }
std::string paragraph(const std::string& text, const char* kind = "") {
  return "<p" + (*kind == '\0' ? "" : " class=\"" + std::string(kind) + "\"") + ">" +
         escaped(text) + "</p>\n";
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// What there is of the data: numbers that stand between the source and the rows.
Json counts_in(const Json& result) {
  Json counts = Json::object();
  for (const auto& [name, value] : result.items()) {
    if (name == "rows") break;
    if (value.is_number()) counts[name] = value;
  }
  return counts;
}

std::vector<std::string> text_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, '\t');) cells.push_back(cell);
  return cells;
}

/// As many of 0..count-1 as there is room for, as evenly as can be, with the first and the last.
std::vector<std::size_t> some_of(std::size_t count, std::size_t most) {
  std::vector<std::size_t> some;
  const std::size_t shown = std::min(count, most);
  for (std::size_t i = 0; i < shown; ++i)
    some.push_back(shown < 2 ? 0 : i * (count - 1) / (shown - 1));
  return some;
}

std::string heat_map_of(const Plot& plot, const std::string& epoch) {
  constexpr std::size_t most_columns = 16;
  std::vector<std::vector<double>> rows;
  std::vector<std::string> columns;
  for (const std::string& line : text_lines(plot.data)) {
    const auto cells = cells_of(line);
    const auto some = some_of(cells.size(), most_columns);
    if (rows.empty())
      for (const std::size_t i : some) columns.push_back(std::to_string(i + 1));
    rows.emplace_back();
    for (const std::size_t i : some)
      rows.back().push_back(cells[i] == "-" ? std::numeric_limits<double>::quiet_NaN()
                                            : std::stod(cells[i]));
  }
  return "<h3>" + escaped(plot.title) + "</h3>\n" + html_heat_map(rows, "expert", epoch, columns);
}

std::string numbers_of(const Plot& plot) {
  constexpr std::size_t most_lines = 40;
  const auto lines = text_lines(plot.data);
  if (lines.size() < 2) return {};
  Cells cells = {cells_of(lines.front())};
  const auto some = some_of(lines.size() - 1, most_lines);
  for (const std::size_t i : some) {
    cells.push_back(cells_of(lines[i + 1]));
    cells.back().resize(cells.front().size());
  }
  const std::string note =
      some.size() + 1 < lines.size()
          ? paragraph(formatted("%zu of %zu lines; all are in ", some.size(), lines.size() - 1) +
                          plot.name + ".tsv.",
                      "note")
          : "";
  return html_table(cells, 0) + note;
}

std::string pictures_of(const ReportContent& content) {
  std::string html;
  for (std::size_t i = 0; i < content.plots.size(); ++i) {
    const Plot& plot = content.plots[i];
    if (plot.is_heat_map) continue;
    if (i < content.pictures.size() && !content.pictures[i].empty()) {
      html += html_picture(content.pictures[i], plot.title) +
              "<details><summary>Numbers</summary>\n" + numbers_of(plot) + "</details>\n";
    } else {
      html += "<h3>" + escaped(plot.title) + "</h3>\n" + numbers_of(plot);
    }
  }
  return html.empty() ? "" : heading("Curves") + html;
}

std::string heat_maps_of(const ReportContent& content, const std::string& epoch) {
  std::string html;
  for (const Plot& plot : content.plots)
    if (plot.is_heat_map) html += heat_map_of(plot, epoch);
  if (html.empty()) return html;
  return heading("Load per expert") +
         paragraph("Of 100 samples, how many an expert has, " + epoch + " by " + epoch +
                       ". Where a few rows are dark and all others white, a gate sends all "
                       "samples to the same experts.",
                   "note") +
         html;
}

std::string data_of(const Json& result) {
  std::string text = data_line(result.value("source", ""), counts_in(result));
  if (result.contains("rows")) {
    const char* separator = "; rows: ";
    for (const auto& [name, count] : result.at("rows").items()) {
      text += separator + text_of(count) + " " + name;
      separator = ", ";
    }
  }
  return text;
}

/// What became of each task's gate.
std::string gates_of(const Figures& figures, const PlotWords& words) {
  Cells cells = {{words.task, "experts per sample"}};
  const std::size_t tasks = figures.load.size();
  const bool says_more =
      figures.effective_experts.size() == tasks && figures.mutual_information.size() == tasks;
  if (says_more)
    cells.front().insert(cells.front().end(),
                         {"effective experts", "of", "mutual information (nats)"});
  if (figures.experts_per_sample_by_task.size() != tasks) return {};
  for (std::size_t t = 0; t < tasks; ++t) {
    cells.push_back({t < words.tasks.size() ? words.tasks[t] : std::to_string(t + 1),
                     formatted("%.2f", figures.experts_per_sample_by_task[t])});
    if (says_more)
      cells.back().insert(cells.back().end(), {formatted("%.2f", figures.effective_experts[t]),
                                               std::to_string(figures.load[t].size()),
                                               formatted("%.3f", figures.mutual_information[t])});
  }
  return tasks == 0 ? "" : html_table(cells, 1);
}

std::string options_of(const Json& options) {
  Cells cells = {{"option", "value"}};
  for (const auto& [name, value] : options.items()) cells.push_back({name, text_of(value)});
  return heading("Options") + html_table(cells, 2);
}

std::string comparison_of(const ReportContent& content, const ReportWords& words) {
  const auto is_twin = [&](std::size_t line) {
    return line > 0 && words.is_twin && words.is_twin(content.rows[line - 1].gate);
  };
  bool has_twin = false;
  for (std::size_t line = 1; line <= content.rows.size(); ++line)
    has_twin = has_twin || is_twin(line);
  return html_table(result_cells(content.rows, words.results), num_words(words.results), is_twin) +
         (has_twin ? paragraph("Grey rows are no mixtures, but what a mixture is measured by: "
                               "dense networks and simpler models.",
                               "note")
                   : "");
}

/// One training, with its twins if there are any.
std::string training_of(const ReportContent& content, const ReportWords& words) {
  const Json& result = content.result;
  const Json& options = result.at("options");
  const std::string search = options.value("local_search", no_search);
  const std::string threads = text_of(result.at("threads"));
  std::string html =
      paragraph("gate: " + text_of(options.at("gate")) +
                (search == no_search ? "" : ", " + search + " local search")) +
      paragraph(data_of(result)) +
      paragraph(text_of(result.at("epochs")) + " " + words.plots.epoch + "s, the best is number " +
                text_of(result.at("best_epoch")) + "; " + duration(result.at("seconds")) +
                " with " + threads + (threads == "1" ? " thread" : " threads"));
  const std::vector<ResultRow> row = {result_row_of(result)};
  const Figures& test = row.front().runs.front().training.test;
  const std::string constant = constant_gates(test);
  const bool is_mixture = !words.is_twin || !words.is_twin(row.front().gate);
  if (is_mixture && !constant.empty()) html += paragraph("Note: " + constant + ".", "warning");
  html += heading("Result on the " + words.results.rows) +
          html_table(result_cells(row, words.results), num_words(words.results));
  if (is_mixture) html += gates_of(test, words.plots);
  if (!content.rows.empty())
    html += heading("Beside what it was compared with") + comparison_of(content, words);
  return html;
}

/// Options as words: without the quotes of JSON, and nothing for one that a gate does not have.
std::string trial_table(std::span<const Trial> trials, const TrialSummary& summary) {
  Cells cells = trial_cells(trials, summary.varied);
  for (auto& line : cells)
    for (std::string& cell : line) {
      if (cell == "null") cell.clear();
      if (cell.size() > 1 && cell.front() == '"' && cell.back() == '"')
        cell = cell.substr(1, cell.size() - 2);
    }
  return html_table(cells, 0);
}

std::string trials_of(const ReportContent& content) {
  constexpr std::size_t most_trials = 200;
  const TrialSummary summary = summary_of(content.trials);
  const std::vector<Trial> all = ranked(content.trials);
  const std::span<const Trial> shown = std::span(all).first(std::min(all.size(), most_trials));
  std::string html = paragraph("data: " + summary.source) + paragraph(head_of(summary)) +
                     heading("Best 5 % by validation loss") + paragraph(best_of(summary)) +
                     trial_table(summary.best, summary) +
                     heading("No trial is better in both loss and experts per sample") +
                     trial_table(summary.pareto_front, summary);
  html += heading("All trials, best first") + trial_table(shown, summary);
  if (shown.size() < all.size())
    html +=
        paragraph(std::to_string(all.size() - shown.size()) + " more are in trials.jsonl.", "note");
  return html;
}

/// The last part of the path that is a name.
std::string name_of(const std::filesystem::path& path) {
  const auto whole = std::filesystem::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole.filename() : whole.parent_path().filename()).string();
}

std::string title_of(const ReportContent& content) {
  const std::string name = name_of(content.folder);
  if (!content.trials.empty()) return "Search " + name;
  const bool is_comparison = !content.rows.empty() && !content.result.is_object();
  return (is_comparison ? "Comparison " : "Training ") + name;
}

}  // namespace

std::string report_page(const ReportContent& content, const ReportWords& words) {
  std::string body;
  if (!content.trials.empty()) {
    body += trials_of(content);
  } else if (content.result.is_object()) {
    body += training_of(content, words);
  } else if (!content.rows.empty()) {
    body += paragraph("data: " + content.source) + heading("Result on the " + words.results.rows) +
            comparison_of(content, words);
  } else {
    body += paragraph("There is no result.json: the training has not ended.", "note");
  }
  body += pictures_of(content) + heat_maps_of(content, words.plots.epoch);
  body += content.paths;
  if (content.result.is_object()) body += options_of(content.result.at("options"));
  return html_page(title_of(content), "", body);
}

}  // namespace programs
