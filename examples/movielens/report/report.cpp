// SPDX-License-Identifier: MIT
#include <movielens/report/report.hpp>

#include <cmath>

#include <movielens/base/text_table.hpp>

namespace movielens {
namespace {

/// "0.7412", or "0.7412 +- 0.0031" for several runs: mean and standard error.
template <class Figure>
std::string mean_and_error_text(const ResultRow& row, int digits, Figure figure) {
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

Cells cells_of(const std::vector<ResultRow>& rows) {
  Cells cells = {{"gate", "local search", "test rating MSE", "test watch AUC", "experts/sample",
                  "seconds/epoch", "parameters"}};
  for (const ResultRow& row : rows) {
    const auto cell = [&](int digits, auto figure) {
      return mean_and_error_text(row, digits, figure);
    };
    cells.push_back({row.gate, row.local_search,
                     cell(4, [](const RunResult& r) { return r.training.test.loss.rating; }),
                     cell(4, [](const RunResult& r) { return r.training.test.auc; }),
                     cell(2, [](const RunResult& r) { return r.training.test.experts_per_sample; }),
                     cell(1, [](const RunResult& r) { return r.training.seconds_per_epoch; }),
                     std::to_string(row.runs.front().parameters)});
  }
  return cells;
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

Figures figures_from(const Json& json) {
  return {.loss = {.watched = json.at("bce"),
                   .rating = json.at("mse"),
                   .penalty = 0,
                   .total = json.at("loss")},
          .auc = json.at("auc"),
          .experts_per_sample = json.at("experts_per_sample"),
          .experts_per_sample_by_task =
              json.at("experts_per_sample_by_task").get<std::vector<double>>(),
          .load = json.at("load_per_expert").get<std::vector<std::vector<double>>>()};
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

std::string progress_line(const EpochReport& report, int epochs) {
  const Figures& v = report.validation;
  return formatted(
      "epoch %d/%d  training loss %.4f  validation loss %.4f  AUC %.4f  MSE %.4f  "
      "experts/sample %.2f  %.1f s%s",
      report.epoch, epochs, report.training.total, v.loss.total, v.auc, v.loss.rating,
      v.experts_per_sample, report.seconds, report.best ? "  best" : "");
}

std::string result_table(const std::vector<ResultRow>& rows) {
  return text_table(cells_of(rows), 2);
}

std::string result_markdown(const std::vector<ResultRow>& rows) {
  return markdown_table(cells_of(rows), 2);
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
  result.training.test = figures_from(json.at("test"));
  result.training.epochs = json.at("epochs");
  result.training.best_epoch = json.at("best_epoch");
  result.training.seconds = json.at("seconds");
  result.training.seconds_per_epoch = json.at("seconds_per_epoch");
  result.parameters = json.at("parameters");
  return result;
}

}  // namespace movielens
