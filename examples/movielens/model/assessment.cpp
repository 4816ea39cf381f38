// SPDX-License-Identifier: MIT
#include <movielens/model/assessment.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include <comet/kernels/functions.hpp>

#include <programs/base/text_table.hpp>

namespace programs::movielens {

Assessment assess(Predictor& predictor, const TwoTaskRows& rows) {
  Assessment a;
  Predictions predictions;
  a.figures = predictor.evaluate(rows, predictions);
  std::vector<double> probabilities;
  std::size_t right = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    probabilities.push_back(comet::sigmoid(predictions.logits[i]));
    right += (predictions.logits[i] > 0) == (rows.watched[i] == 1.0F);
  }
  a.accuracy = double(right) / double(rows.size());
  a.calibration = comet::calibration(std::span<const double>(probabilities),
                                     std::span<const float>(rows.watched));
  for (const auto& load : a.figures.load)
    a.coverage.push_back(
        double(load.size() - std::size_t(std::count(load.begin(), load.end(), 0))) /
        double(load.size()));
  return a;
}

Json to_json(const Assessment& a) {
  Json json = to_json(a.figures);
  json["accuracy"] = a.accuracy;
  json["coverage"] = a.coverage;
  Json bins = Json::array();
  for (const comet::CalibrationBin& bin : a.calibration)
    bins.push_back({{"rows", bin.count}, {"predicted", bin.predicted}, {"observed", bin.observed}});
  json["calibration"] = bins;
  return json;
}

void print(const Assessment& a, std::ostream& out) {
  const Figures& f = a.figures;
  out << formatted("loss            %.4f\n", f.loss)
      << formatted("watched: BCE    %.4f\n", f.measure("bce"))
      << formatted("watched: AUC    %.4f\n", f.measure("auc"))
      << formatted("watched: right  %.4f\n", a.accuracy)
      << formatted("stars: MSE      %.4f\n", f.measure("mse"))
      << formatted("experts/sample  %.2f (watched %.2f, stars %.2f)\n", f.experts_per_sample,
                   f.experts_per_sample_by_task[0], f.experts_per_sample_by_task[1])
      << formatted("experts used    %.0f %% (watched), %.0f %% (stars)", 100 * a.coverage[0],
                   100 * a.coverage[1])
      << formatted(", by weight %.1f and %.1f of %zu\n", f.effective_experts[0],
                   f.effective_experts[1], f.load[0].size())
      << formatted("information     %.2f and %.2f nats of sample and expert, at most %.2f\n",
                   f.mutual_information[0], f.mutual_information[1],
                   std::log(double(f.load[0].size())));
  if (const std::string constant = constant_gates(f); !constant.empty())
    out << "note            " << constant << '\n';
  Cells calibration = {{"decile of \"watched\"", "rows", "predicted", "observed"}};
  for (std::size_t i = 0; i < a.calibration.size(); ++i) {
    const comet::CalibrationBin& bin = a.calibration[i];
    calibration.push_back({std::to_string(i + 1), std::to_string(bin.count),
                           formatted("%.3f", bin.predicted), formatted("%.3f", bin.observed)});
  }
  Cells load = {{"expert", "rows, watched", "rows, stars"}};
  for (std::size_t expert = 0; expert < f.load[0].size(); ++expert)
    load.push_back({std::to_string(expert), formatted("%.1f %%", 100 * f.load[0][expert]),
                    formatted("%.1f %%", 100 * f.load[1][expert])});
  out << '\n' << text_table(calibration, 1) << '\n' << text_table(load, 1);
}

}  // namespace programs::movielens
