// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/core/storage.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/commands/run.hpp>
#include <movielens/data/dataset.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/model/assessment.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/predictor.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/other_data.hpp>

namespace programs::movielens {
namespace {

struct EvaluateOptions {
  std::string model;
  TrainOptions data;  // data, table and threads
  std::string split = "test";
  std::string storage = "full";
  bool json = false;
};

comet::Storage storage_of(const std::string& name) {
  return name == "bf16"   ? comet::Storage::bf16
         : name == "int8" ? comet::Storage::int8
                          : comet::Storage::full;
}

void evaluate(const EvaluateOptions& o, const Console& console) {
  const ModelFile file(o.model);
  TrainOptions options = file.options();
  options.data = o.data.data;
  options.table = given_or_saved(o.data.table, options.table);
  const Dataset data = load(options);
  print_notes(data.notes, console.err);
  check_ids(file, data.user_ids, data.item_ids, data.source);
  const std::string content = fingerprint_of(data);
  tell_other_data(file.content(), content, data.source, console);
  const TwoTaskRows& rows = o.split == "train"        ? data.rows.train
                            : o.split == "validation" ? data.rows.validation
                                                      : data.rows.test;
  Predictor predictor(file, storage_of(o.storage), o.data.threads);
  const Assessment assessment = assess(predictor, rows);
  if (o.json) {
    Json json = {{"model", o.model},
                 {"source", data.source},
                 {"is_of_training", is_of_training(file.content(), content)},
                 {"split", o.split},
                 {"rows", rows.size()},
                 {"storage", o.storage},
                 {"options", to_json(file.options())}};
    json.update(to_json(assessment));
    console.out << json.dump(2) << '\n';
    return;
  }
  console.out << "data: " << data.source << ", " << o.split << " split: " << rows.size()
              << " rows\ngate: " << options.gate << '\n';
  if (o.storage != "full") console.out << "weights of the experts: " << o.storage << '\n';
  print(assessment, console.out);
}

}  // namespace

void add_evaluate(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "evaluate",
      "Say how good a trained model is on a split of its ratings, and how it spreads "
      "the load");
  auto o = std::make_shared<EvaluateOptions>();
  add_model_file(*command, o->model);
  add_options(*command, data_table_of(o->data));
  add_options(*command, table_of(o->data), {"threads"});
  command->add_option("--split", o->split, "of the ratings, as in the training")
      ->type_name("SPLIT")
      ->capture_default_str()
      ->check(one_of({"test", "validation", "train"}));
  command
      ->add_option("--storage", o->storage,
                   "of the experts' weights: what a model loses that is served in 16 or in 8 bits")
      ->type_name("STORAGE")
      ->capture_default_str()
      ->check(one_of({"full", "bf16", "int8"}));
  command->add_flag("--json", o->json, "one JSON object instead of tables");
  command->callback([o, console] {
    table_of(o->data).check({"threads"});
    evaluate(*o, console);
  });
}

}  // namespace programs::movielens
