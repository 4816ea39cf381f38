// SPDX-License-Identifier: MIT
#include <programs/study/trial_summary.hpp>

#include <algorithm>
#include <cmath>
#include <set>

#include <programs/base/text_table.hpp>

namespace programs {
namespace {

template <class Figure>
MeanAndError mean_of(std::span<const Trial> trials, Figure figure) {
  std::vector<double> values;
  for (const Trial& trial : trials) values.push_back(figure(trial));
  return mean_and_error(values);
}

/// A trial that failed has no measures: it counts as 0.
std::vector<std::pair<std::string, MeanAndError>> measures_of(std::span<const Trial> trials) {
  std::vector<std::pair<std::string, MeanAndError>> result;
  for (const Trial& trial : trials) {
    for (const Measure& measure : trial.test_measures) result.push_back({measure.name, {}});
    if (!result.empty()) break;
  }
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i].second = mean_of(trials, [i](const Trial& trial) {
      return i < trial.test_measures.size() ? trial.test_measures[i].value : 0;
    });
  return result;
}

Json to_json(const MeanAndError& value) {
  return {{"mean", value.mean}, {"error", value.error ? Json(*value.error) : Json()}};
}

std::string text_of(const MeanAndError& value) {
  return value.error ? formatted("%.4f +- %.4f", value.mean, *value.error)
                     : formatted("%.4f", value.mean);
}

/// Options that are the same everywhere say nothing, and a seed little.
std::vector<std::string> varied_in(std::span<const Trial> trials) {
  std::vector<std::string> varied;
  for (const auto& [name, first] : trials.front().options.items()) {
    const std::string& option = name;
    const Json& value = first;
    const bool same = std::all_of(trials.begin(), trials.end(), [&](const Trial& trial) {
      return trial.options.value(option, Json()) == value;
    });
    if (!same && option != "seed") varied.push_back(option);
  }
  return varied;
}

/// \param table  text_table or markdown_table
template <class Table>
std::string summary(const TrialSummary& s, Table table) {
  std::string text = "data: " + s.source + "\n" + head_of(s) + "\n\nBest 5 % by validation loss (" +
                     std::to_string(s.best_share) + "), mean and standard error: " + best_of(s) +
                     "\n\n";
  text += table(trial_cells(s.best, s.varied), 0);
  text += "\nNo trial is better in both validation loss and experts per sample:\n\n";
  text += table(trial_cells(s.pareto_front, s.varied), 0);
  return text;
}

}  // namespace

std::string head_of(const TrialSummary& s) {
  std::string text = std::to_string(s.trials) + " trials";
  if (s.failed > 0) text += ", " + std::to_string(s.failed) + " of them failed";
  if (s.cut_short > 0) text += "; halving cut " + std::to_string(s.cut_short) + " others short";
  return text;
}

std::string best_of(const TrialSummary& s) {
  std::string text = "test loss " + text_of(s.test_loss);
  for (const auto& [name, value] : s.test_measures)
    text += ", " + label_of(name) + " " + text_of(value);
  return text;
}

Cells trial_cells(std::span<const Trial> trials, const std::vector<std::string>& varied) {
  Cells cells = {{"trial", "validation loss", "test loss", "experts/sample"}};
  cells.front().insert(cells.front().end(), varied.begin(), varied.end());
  for (const Trial& trial : trials) {
    cells.push_back({std::to_string(trial.number), formatted("%.4f", trial.validation_loss),
                     formatted("%.4f", trial.test_loss),
                     formatted("%.2f", trial.experts_per_sample)});
    for (const std::string& name : varied) {
      const Json value = trial.options.value(name, Json());
      cells.back().push_back(value.is_number_float() ? formatted("%.3g", value.get<double>())
                                                     : value.dump());
    }
  }
  return cells;
}

TrialSummary summary_of(std::span<const Trial> trials) {
  const std::vector<Trial> order = ranked(trials);
  TrialSummary s;
  s.source = trials.front().source;
  s.trials = order.size();
  std::set<int> finished;
  std::set<int> begun;
  for (const Trial& trial : trials) (trial.rung ? begun : finished).insert(trial.number);
  for (const int number : begun) s.cut_short += finished.contains(number) ? 0U : 1U;
  s.failed = static_cast<std::size_t>(std::count_if(
      order.begin(), order.end(), [](const Trial& trial) { return !trial.failure.empty(); }));
  s.best_share = best_share(order.size());
  s.best.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(s.best_share));
  s.test_loss = mean_of(s.best, [](const Trial& trial) { return trial.test_loss; });
  s.test_measures = measures_of(s.best);
  s.pareto_front = pareto_front(order);
  s.varied = varied_in(order);
  return s;
}

Json to_json(const TrialSummary& s) {
  const auto list = [](std::span<const Trial> trials) {
    Json json = Json::array();
    for (const Trial& trial : trials) json.push_back(to_json(trial));
    return json;
  };
  Json json = {{"source", s.source},         {"trials", s.trials},
               {"cut_short", s.cut_short},   {"failed", s.failed},
               {"best_share", s.best_share}, {"test_loss", to_json(s.test_loss)}};
  for (const auto& [name, value] : s.test_measures) json["test_" + name] = to_json(value);
  json["best"] = list(s.best);
  json["pareto_front"] = list(s.pareto_front);
  return json;
}

std::string summary_text(const TrialSummary& s) { return summary(s, text_table); }

std::string summary_markdown(const TrialSummary& s) { return summary(s, markdown_table); }

std::string progress_line(const Trial& trial, std::size_t done, std::size_t trials,
                          const Trial& best, double seconds_left) {
  std::string text = formatted("%zu/%zu  trial %d", done, trials, trial.number);
  if (trial.rung) text += formatted(" (%d epochs)", trial.epochs);
  text += trial.failure.empty()
              ? formatted("  validation loss %.4f  test loss %.4f  experts/sample %.2f  %.1f s",
                          trial.validation_loss, trial.test_loss, trial.experts_per_sample,
                          trial.seconds)
              : "  failed: " + trial.failure;
  text += formatted("  best %.4f (trial %d)", best.validation_loss, best.number);
  if (done < trials) text += "  about " + duration(seconds_left) + " left";
  return text;
}

}  // namespace programs
