// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <bert/model/evaluation.hpp>
#include <bert/model/model_file.hpp>
#include <bert/model/network.hpp>
#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::bert {
namespace {

struct EvaluateOptions {
  std::string model;
  std::string split = "dev";
  bool json = false;
  DistilOptions data;  // where it is, the teacher, and batch size
};

void print_layers(const Figures& figures, std::ostream& out) {
  for (std::size_t l = 0; l < figures.load.size(); ++l) {
    out << formatted(
        "layer %d: %.2f experts a token, %.2f effective; share of the tokens by expert:",
        int(l) + 1, figures.experts_per_sample_by_task[l], figures.effective_experts[l]);
    for (const double share : figures.load[l]) out << formatted(" %.3f", share);
    out << '\n';
  }
}

void print(const Figures& figures, const Task& task, bool has_teacher, std::ostream& out) {
  for (const std::string_view metric : task.metrics)
    out << formatted("%s %.4f  ", std::string(metric).c_str(),
                     figures.measure(std::string(metric)));
  out << formatted("loss %.4f\n", figures.loss);
  if (has_teacher)
    out << formatted("from the teacher: error over the hidden states %.4f, divergence %.4f\n",
                     figures.measure("hidden_error"), figures.measure("divergence"));
  out << formatted("multiply-adds a token: %.0f; %.0f tokens a second\n",
                   figures.measure("multiply_adds"), figures.measure("tokens_per_second"));
  print_layers(figures, out);
}

void run_evaluate(const EvaluateOptions& o, const Console& console) {
  const ModelFile file(o.model);
  TrainOptions options = file.options();
  options.data = o.data.data;
  options.pretrained = o.data.pretrained;
  const StudyData data = load_task(options, file.config());
  expect_vocabulary(file, options, data);
  const Bert<float> model = file.model();
  std::shared_ptr<const Bert<float>> teacher;
  if (!o.data.teacher.empty()) {
    const ModelFile of_teacher(o.data.teacher);
    if (of_teacher.options().distils || of_teacher.options().task != options.task)
      throw FileError(o.data.teacher, "is no teacher of " + options.task);
    if (of_teacher.config() != file.config())
      throw FileError(o.data.teacher, "has other sizes than the teacher of " + o.model);
    expect_vocabulary(of_teacher, options, data);
    teacher = std::make_shared<const Bert<float>>(of_teacher.model());
  }
  use_one_torch_thread();
  const Rows& rows = o.split == "dev" ? data.dev : data.train;
  const Figures figures = evaluate(model, teacher.get(), data, rows, Index(o.data.batch_size));
  if (o.json) {
    Json json = {{"model", o.model},
                 {"task", options.task},
                 {"split", o.split},
                 {"rows", rows.size()},
                 {"options", to_json(options)}};
    json.update(to_json(figures));
    if (teacher == nullptr)  // nothing to be near to
      for (const char* distance : {"hidden_error", "divergence"}) json.erase(distance);
    console.out << json.dump(2) << '\n';
    return;
  }
  console.out << options.task << ", " << o.split << ": " << rows.size()
              << " rows\ngate: " << options.gate
              << (options.route_by == by_sentence ? ", by sentence\n" : "\n");
  print(figures, *data.task, teacher != nullptr, console.out);
}

}  // namespace

void add_evaluate(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "evaluate", "Say how good a trained model is at its task, and at what cost");
  auto o = std::make_shared<EvaluateOptions>();
  add_model_file(*command, o->model);
  const OptionTable table = table_of(o->data);
  add_options(*command, table, {"data", "pretrained", "teacher", "batch_size"});
  command->get_option("--teacher")->description("to measure the distance from");
  command->add_option("--split", o->split, "of the task")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->check(one_of({"train", "dev"}));
  command->add_flag("--json", o->json, "one JSON object instead of lines");
  command->callback([o, console] {
    table_of(o->data).check({"batch_size"});
    run_evaluate(*o, console);
  });
}

}  // namespace programs::bert
