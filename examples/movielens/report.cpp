// SPDX-License-Identifier: MIT
#include <movielens/report.hpp>

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
          {"seconds", report.seconds}};
}

std::string progress_line(const EpochReport& report, int epochs) {
  const Figures& v = report.validation;
  return formatted(
      "epoch %d/%d  training loss %.4f  validation loss %.4f  AUC %.4f  MSE %.4f  "
      "experts/sample %.2f  %.1f s%s",
      report.epoch, epochs, report.training.total, v.loss.total, v.auc, v.loss.rating,
      v.experts_per_sample, report.seconds, report.best ? "  best" : "");
}

std::string result_table(const std::string& gate, const TrainingResult& result) {
  return "gate      test rating MSE  test watch AUC  experts/sample  seconds/epoch\n" +
         formatted("%-8s  %15.4f  %14.4f  %14.2f  %13.1f\n", gate.c_str(), result.test.loss.rating,
                   result.test.auc, result.test.experts_per_sample, result.seconds_per_epoch);
}

}  // namespace movielens
