// SPDX-License-Identifier: MIT
#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/core/thread_pool.hpp>
#include <comet/metrics/calibration.hpp>
#include <comet/metrics/mutual_information.hpp>

#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/other_data.hpp>
#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/split.hpp>
#include <two_pictures/model/evaluation.hpp>

namespace programs::two_pictures {
namespace {

struct EvaluateOptions {
  std::string model;
  TrainOptions data;  // the pictures, and threads
  std::string split = "test";
  bool json = false;
};

Json to_json(const std::vector<comet::CalibrationBin>& calibration) {
  Json list = Json::array();
  for (const comet::CalibrationBin& bin : calibration)
    list.push_back(
        {{"samples", bin.count}, {"certainty", bin.predicted}, {"accuracy", bin.observed}});
  return list;
}

Json rows_of(const Matrix<double>& matrix) {
  Json list = Json::array();
  for (Index row = 0; row < matrix.rows(); ++row) {
    list.push_back(Json::array());
    for (const double value : matrix.row(row)) list.back().push_back(value);
  }
  return list;
}

Json tasks_of(const Evaluator& evaluator) {
  Json list = Json::array();
  for (std::size_t task = 0; task < evaluator.answers().size(); ++task) {
    const Answers& answers = evaluator.answers()[task];
    const Matrix<double>& experts = evaluator.experts_by_class()[task];
    list.push_back({{"accuracy", answers.accuracy()},
                    {"top2_accuracy", answers.top2_accuracy()},
                    {"calibration_error", comet::calibration_error(answers.calibration())},
                    {"calibration", to_json(answers.calibration())},
                    {"confusion", answers.confusion()},
                    {"experts_by_class", rows_of(shares_of_rows(experts))},
                    {"class_information", comet::mutual_information(experts)}});
  }
  return list;
}

std::vector<std::string> numbered(std::string first, std::size_t count) {
  std::vector<std::string> head = {std::move(first)};
  for (std::size_t i = 0; i < count; ++i) head.push_back(std::to_string(i));
  return head;
}

/// A line per class: how often it was taken for which, and who spoke.
void print_task(const Evaluator& evaluator, std::size_t task, std::ostream& out) {
  const Answers& answers = evaluator.answers()[task];
  const Matrix<double>& together = evaluator.experts_by_class()[task];
  const Matrix<double> share = shares_of_rows(together);
  out << formatted("\ntask %d: accuracy %.4f  among the first two %.4f  calibration error %.4f\n",
                   int(task) + 1, answers.accuracy(), answers.top2_accuracy(),
                   comet::calibration_error(answers.calibration()));
  Cells confusion = {numbered("class, taken for", answers.confusion().size())};
  Cells experts = {numbered("class, weight by expert", std::size_t(share.cols()))};
  for (Index c = 0; c < share.rows(); ++c) {
    confusion.push_back({std::to_string(c)});
    for (const auto count : answers.confusion()[std::size_t(c)])
      confusion.back().push_back(std::to_string(count));
    experts.push_back({std::to_string(c)});
    for (const double weight : share.row(c)) experts.back().push_back(formatted("%.2f", weight));
  }
  out << '\n' << text_table(confusion, 1) << '\n' << text_table(experts, 1);
  out << formatted("class and expert share %.3f nats\n", comet::mutual_information(together));
}

void evaluate(const EvaluateOptions& o, const Console& console) {
  const ModelFile file(o.model);
  const Dataset data = data_for(file, o.data, console);
  const Examples& examples = part_of(data, o.split);
  const Model model = file.model();
  comet::ThreadPool pool(o.data.threads);
  Model::Pass pass(model, &pool);
  Evaluator evaluator(examples, std::size_t(file.options().batch_size));
  const Figures figures = evaluator.evaluate(model, pass);
  if (o.json) {
    Json json = {{"model", o.model},
                 {"source", data.source},
                 {"is_of_training", is_of_training(file.content(), fingerprint_of(data))},
                 {"split", o.split},
                 {"examples", examples.size()},
                 {"options", to_json(file.options())},
                 {"tasks", tasks_of(evaluator)}};
    json.update(programs::to_json(figures));
    console.out << json.dump(2) << '\n';
    return;
  }
  console.out << "pictures: " << data.source << ", " << o.split << " split: " << examples.size()
              << " canvases\ngate: " << file.options().gate << '\n'
              << formatted("accuracy %.4f  experts/canvas %.2f  multiply-adds/canvas %.0f\n",
                           figures.measure("accuracy"), figures.experts_per_sample,
                           figures.measure("multiply_adds"));
  for (std::size_t task = 0; task < evaluator.answers().size(); ++task)
    print_task(evaluator, task, console.out);
}

}  // namespace

void add_evaluate(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "evaluate", "Say how well a trained model tells pictures, and which experts it asks");
  auto o = std::make_shared<EvaluateOptions>();
  add_model_file(*command, o->model);
  const OptionTable table = table_of(o->data);
  add_options(*command, table, {"data", "second_data", "threads"});
  command->add_option("--split", o->split, "of the pictures, as in the training")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->check(one_of({"test", "validation", "train"}));
  command->add_flag("--json", o->json, "one JSON object instead of tables");
  command->callback([o, console] {
    table_of(o->data).check({"threads"});
    evaluate(*o, console);
  });
}

}  // namespace programs::two_pictures
