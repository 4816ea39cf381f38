// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/kernels/functions.hpp>
#include <comet/metrics/calibration.hpp>

#include <movielens/base/text_table.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/report/report.hpp>
#include <movielens/training/model_file.hpp>
#include <movielens/training/predictor.hpp>
#include <movielens/training/run.hpp>

namespace movielens {
namespace {

struct EvaluateOptions {
  std::string model;
  TrainOptions data;  // data and table
  std::string split = "test";
  bool json = false;
};

/// Everything there is to say of a model on some rows.
struct Assessment {
  Figures figures;
  double accuracy = 0;  ///< of "watched": the side of 1/2 that the probability is on
  std::vector<comet::CalibrationBin> calibration;
  std::vector<double> coverage;  ///< per task, share of the experts that any row goes to
};

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

Json assessment_json(const Assessment& a) {
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
  out << formatted("loss            %.4f\n", f.loss.total)
      << formatted("watched: BCE    %.4f\n", f.loss.watched)
      << formatted("watched: AUC    %.4f\n", f.auc)
      << formatted("watched: right  %.4f\n", a.accuracy)
      << formatted("stars: MSE      %.4f\n", f.loss.rating)
      << formatted("experts/sample  %.2f (watched %.2f, stars %.2f)\n", f.experts_per_sample,
                   f.experts_per_sample_by_task[0], f.experts_per_sample_by_task[1])
      << formatted("experts used    %.0f %% (watched), %.0f %% (stars)\n", 100 * a.coverage[0],
                   100 * a.coverage[1]);
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

void evaluate(const EvaluateOptions& o, const Console& console) {
  const ModelFile file(o.model);
  TrainOptions options = file.options();
  options.data = o.data.data;
  options.table = given_or_saved(o.data.table, options.table);
  const Dataset data = load(options);
  print_notes(data.notes, console.err);
  check_ids(file, data.user_ids, data.item_ids, data.source);
  const TwoTaskRows& rows = o.split == "train"        ? data.rows.train
                            : o.split == "validation" ? data.rows.validation
                                                      : data.rows.test;
  const Assessment assessment = assess(*open_predictor(file), rows);
  if (o.json) {
    Json json = {{"model", o.model},
                 {"source", data.source},
                 {"split", o.split},
                 {"rows", rows.size()},
                 {"options", to_json(file.options())}};
    json.update(assessment_json(assessment));
    console.out << json.dump(2) << '\n';
    return;
  }
  console.out << "data: " << data.source << ", " << o.split << " split: " << rows.size()
              << " rows\ngate: " << options.gate << '\n';
  print(assessment, console.out);
}

}  // namespace

void add_evaluate(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "evaluate",
      "Say how good a trained model is on a split of its ratings, and how it spreads "
      "the load");
  auto o = std::make_shared<EvaluateOptions>();
  command->add_option("--model", o->model, "model.safetensors of a training")
      ->type_name("FILE")
      ->required();
  add_data_options(*command, o->data);
  command->add_option("--split", o->split, "of the ratings, as in the training")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->check(CLI::IsMember({"test", "validation", "train"}));
  command->add_flag("--json", o->json, "one JSON object instead of tables");
  command->callback([o, console] { evaluate(*o, console); });
}

}  // namespace movielens
