// SPDX-License-Identifier: MIT
#include <movielens/report.hpp>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdio>

namespace movielens {
namespace {

[[gnu::format(printf, 1, 2)]] std::string formatted(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

/// "0.7412", or "0.7412 +- 0.0031" for several runs: mean and standard error.
template <class Figure>
std::string mean_and_error(const ResultRow& row, int digits, Figure figure) {
  const auto count = static_cast<double>(row.runs.size());
  double sum = 0;
  for (const RunResult& run : row.runs) sum += figure(run);
  const double mean = sum / count;
  if (row.runs.size() < 2) return formatted("%.*f", digits, mean);
  double squares = 0;
  for (const RunResult& run : row.runs) {
    const double difference = figure(run) - mean;
    squares += difference * difference;
  }
  return formatted("%.*f +- %.*f", digits, mean, digits, std::sqrt(squares / (count - 1) / count));
}

std::string table(const std::vector<ResultRow>& rows, const char* begin, const char* between,
                  const char* end, bool ruled) {
  std::vector<std::vector<std::string>> cells = {{"gate", "local search", "test rating MSE",
                                                  "test watch AUC", "experts/sample",
                                                  "seconds/epoch", "parameters"}};
  for (const ResultRow& row : rows) {
    const auto cell = [&](int digits, auto figure) { return mean_and_error(row, digits, figure); };
    cells.push_back({row.gate, row.local_search,
                     cell(4, [](const RunResult& r) { return r.training.test.loss.rating; }),
                     cell(4, [](const RunResult& r) { return r.training.test.auc; }),
                     cell(2, [](const RunResult& r) { return r.training.test.experts_per_sample; }),
                     cell(1, [](const RunResult& r) { return r.training.seconds_per_epoch; }),
                     std::to_string(row.runs.front().parameters)});
  }
  std::vector<std::size_t> width(cells.front().size(), 0);
  for (const auto& line : cells)
    for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& line) {
    text += begin;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string padding(width[i] - line[i].size(), ' ');
      // Words to the left, numbers to the right.
      text += i < 2 ? line[i] + padding : padding + line[i];
      text += i + 1 < line.size() ? between : end;
    }
    text += '\n';
  };
  for (std::size_t l = 0; l < cells.size(); ++l) {
    add_line(cells[l]);
    if (l > 0 || !ruled) continue;
    std::vector<std::string> rule;
    for (const std::size_t w : width) rule.emplace_back(w, '-');
    add_line(rule);
  }
  return text;
}

}  // namespace

Json to_json(const Figures& figures) {
  return {{"loss", figures.loss.total},
          {"bce", figures.loss.watched},
          {"auc", figures.auc},
          {"mse", figures.loss.rating},
          {"experts_per_sample", figures.experts_per_sample},
          {"experts_per_sample_by_task", figures.experts_per_sample_by_task},
          {"load_per_expert", figures.load}};
}

Json to_json(const EpochReport& report) {
  return {{"epoch", report.epoch},
          {"training",
           {{"loss", report.training.total},
            {"bce", report.training.watched},
            {"mse", report.training.rating},
            {"penalty", report.training.penalty}}},
          {"validation", to_json(report.validation)},
          {"best", report.best},
          {"permutations", to_json(report.permutations)},
          {"seconds", report.seconds}};
}

Json to_json(const StepReport& report) {
  return {{"step", report.step},
          {"loss", report.loss.total},
          {"experts_per_sample", report.experts_per_sample}};
}

Json to_json(const std::vector<std::vector<comet::Permutation>>& permutations) {
  Json gates = Json::array();
  for (const auto& of_gate : permutations) {
    Json list = Json::array();
    for (const comet::Permutation& p : of_gate) list.push_back(Json(p.as_span()));
    gates.push_back(std::move(list));
  }
  return gates;
}

std::string progress_line(const EpochReport& report, int epochs) {
  const Figures& v = report.validation;
  return formatted(
      "epoch %d/%d  training loss %.4f  validation loss %.4f  AUC %.4f  MSE %.4f  "
      "experts/sample %.2f  %.1f s%s",
      report.epoch, epochs, report.training.total, v.loss.total, v.auc, v.loss.rating,
      v.experts_per_sample, report.seconds, report.best ? "  best" : "");
}

std::string result_table(const std::vector<ResultRow>& rows) {
  return table(rows, "", "  ", "", false);
}

std::string result_markdown(const std::vector<ResultRow>& rows) {
  return table(rows, "| ", " | ", " |", true);
}

Json to_json(const std::vector<ResultRow>& rows) {
  Json list = Json::array();
  for (const ResultRow& row : rows) {
    Json runs = Json::array();
    for (const RunResult& run : row.runs)
      runs.push_back({{"test", to_json(run.training.test)},
                      {"best_epoch", run.training.best_epoch},
                      {"seconds_per_epoch", run.training.seconds_per_epoch},
                      {"parameters", run.parameters}});
    list.push_back({{"gate", row.gate}, {"local_search", row.local_search}, {"runs", runs}});
  }
  return list;
}

RunResult run_result_from(const Json& json) {
  RunResult result;
  const Json& test = json.at("test");
  result.training.test.loss = {
      .watched = test.at("bce"), .rating = test.at("mse"), .penalty = 0, .total = test.at("loss")};
  result.training.test.auc = test.at("auc");
  result.training.test.experts_per_sample = test.at("experts_per_sample");
  result.training.test.experts_per_sample_by_task =
      test.at("experts_per_sample_by_task").get<std::vector<double>>();
  result.training.test.load = test.at("load_per_expert").get<std::vector<std::vector<double>>>();
  result.training.epochs = json.at("epochs");
  result.training.best_epoch = json.at("best_epoch");
  result.training.seconds = json.at("seconds");
  result.training.seconds_per_epoch = json.at("seconds_per_epoch");
  result.parameters = json.at("parameters");
  return result;
}

}  // namespace movielens
