// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/core/thread_pool.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/model_text.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/character_task.hpp>
#include <next_character/model/evaluation.hpp>
#include <next_character/model/model_file.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/other_data.hpp>

namespace programs::next_character {
namespace {

struct EvaluateOptions {
  std::string model;
  TrainOptions data;  // the text, and threads
  std::string split = "test";
  bool json = false;
};

void print(const Figures& figures, double seconds, std::size_t places, std::ostream& out) {
  out << formatted("bits/character %.4f  accuracy %.4f  experts/character %.2f\n",
                   figures.measure("bits"), figures.measure("accuracy"), figures.experts_per_sample)
      << formatted("multiply-adds/character: %.0f in experts and gate, %.0f in all\n",
                   figures.measure("multiply_adds"), figures.measure("multiply_adds_of_all"))
      << formatted("%.0f characters a second\n", double(places) / seconds)
      << "share of the characters by expert:";
  for (const double share : figures.load.front()) out << formatted(" %.3f", share);
  out << '\n';
}

void evaluate(const EvaluateOptions& o, const Console& console) {
  const ModelFile file(o.model);
  const Text text = text_for(file, o.data.text, o.split, console);
  const std::size_t most =
      o.split == "test" ? CharacterTask::test_places : std::numeric_limits<std::size_t>::max();
  const Model model = file.model();
  comet::ThreadPool pool(o.data.threads);
  Model::Pass pass(model, &pool);
  Evaluator evaluator(part_of(text, o.split), file.options().model.window,
                      std::size_t(file.options().batch_size), most);
  const auto start = std::chrono::steady_clock::now();
  const Figures figures = evaluator.evaluate(model, pass);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (o.json) {
    Json json = {
        {"model", o.model},
        {"source", text.source},
        {"is_of_training", o.split == "all" ? Json()  // has no order of files to tell it by
                                            : is_of_training(file.content(), fingerprint_of(text))},
        {"split", o.split},
        {"characters", evaluator.num_places()},
        {"options", to_json(file.options())}};
    json.update(to_json(figures));
    json["seconds"] = seconds.count();
    console.out << json.dump(2) << '\n';
    return;
  }
  console.out << "text: " << text.source << ", " << o.split << ": " << evaluator.num_places()
              << " characters\ngate: " << file.options().gate << '\n';
  print(figures, seconds.count(), evaluator.num_places(), console.out);
}

}  // namespace

void add_evaluate(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "evaluate", "Say how well a trained model predicts a text, and at what cost");
  auto o = std::make_shared<EvaluateOptions>();
  add_model_file(*command, o->model);
  const OptionTable table = table_of(o->data);
  add_options(*command, table, {"data", "endings", "threads"});
  command
      ->add_option("--split", o->split, "of the text as in the training, or all of any other text")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->check(one_of(split_names()));
  command->add_flag("--json", o->json, "one JSON object instead of lines");
  command->callback([o, console] {
    table_of(o->data).check({"threads"});
    evaluate(*o, console);
  });
}

}  // namespace programs::next_character
