// SPDX-License-Identifier: MIT
#include <programs/training/reports.hpp>

#include <programs/base/text_table.hpp>

namespace programs {

Json to_json(const EpochReport& report) {
  return {{"epoch", report.epoch},
          {"step", report.step},
          {"training", to_json(report.training)},
          {"validation", to_json(report.validation)},
          {"best", report.best},
          {"permutations", to_json(report.permutations)},
          {"seconds", report.seconds}};
}

Json to_json(const StepReport& report) {
  return {{"step", report.step},
          {"loss", report.loss},
          {"experts_per_sample", report.experts_per_sample}};
}

std::string progress_line(const EpochReport& report, const std::string& place) {
  const Figures& v = report.validation;
  std::string line = place + formatted("  training loss %.4f  validation loss %.4f",
                                       report.training.total, v.loss);
  for (const Measure& measure : v.measures)
    if (measure.is_headline)
      line += "  " + label_of(measure.name) + formatted(" %.4f", measure.value);
  line += formatted("  experts/sample %.2f", v.experts_per_sample);
  if (!v.effective_experts.empty()) line += formatted("  in use %.1f", v.mean_effective_experts());
  return line + formatted("  %.1f s%s", report.seconds, report.best ? "  best" : "");
}

}  // namespace programs
