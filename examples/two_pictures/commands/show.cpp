// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/core/thread_pool.hpp>

#include <programs/base/files.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>
#include <two_pictures/commands/commands.hpp>
#include <two_pictures/commands/split.hpp>
#include <two_pictures/data/batches.hpp>
#include <two_pictures/model/evaluation.hpp>
#include <two_pictures/report/expert_sheet.hpp>

namespace programs::two_pictures {
namespace {

struct ShowOptions {
  std::string model;
  TrainOptions data;  // the pictures, and threads
  int count = 24;
  std::vector<std::string> names;
  std::string out = "results/show";
};

/// Those that were given; else Fashion-MNIST's for its pictures as Debian installs them, or
/// numbers.
std::vector<std::string> class_names(const ShowOptions& o, Index classes) {
  if (!o.names.empty()) {
    if (Index(o.names.size()) != classes)
      throw std::invalid_argument("--names has " + std::to_string(o.names.size()) +
                                  " names, expected one for each of " + std::to_string(classes) +
                                  " classes");
    return o.names;
  }
  if (o.data.pictures.data.empty() && classes == num_classes)
    return {"T-shirt", "trousers", "pullover", "dress", "coat",
            "sandal",  "shirt",    "sneaker",  "bag",   "boot"};
  std::vector<std::string> names;
  for (Index c = 0; c < classes; ++c) names.push_back(std::to_string(c));
  return names;
}

/// "3 (.81), 1 (.19)".
std::string experts_of(const comet::Routing<float>& routing, Index sample) {
  const auto experts = routing.experts(sample);
  const auto weights = routing.weights(sample);
  std::vector<std::size_t> order(experts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  std::string text;
  for (const std::size_t i : std::span(order).first(std::min(order.size(), std::size_t{3})))
    text += (text.empty() ? "" : ", ") + std::to_string(experts[i]) +
            formatted(" (%.2f)", double(weights[i]));
  return text;
}

std::vector<ShownExample> predict(const Model& model, const Examples& examples, std::size_t count,
                                  Model::Pass& pass) {
  Batches batches(examples, count);
  const Batch batch = batches[0];
  const auto samples = Index(batch.size());
  const auto logits = model.predict(batch.pixels, batch.picture, pass);
  std::vector<ShownExample> shown;
  for (Index b = 0; b < samples; ++b) {
    ShownExample example;
    const auto pixels = batch.pixels.col(b);
    example.pixels.assign(pixels.data(), pixels.data() + pixels.size());
    for (Index task = 0; task < model.num_tasks(); ++task) {
      Index answer = 0;
      logits.col(task * samples + b).maxCoeff(&answer);
      example.truth.push_back(batch.labels[std::size_t(task * samples + b)]);
      example.answer.push_back(std::int32_t(answer));
      example.experts.push_back(experts_of(pass.workspace.mixture().routing(task), b));
    }
    shown.push_back(std::move(example));
  }
  return shown;
}

void show(const ShowOptions& o, const Console& console) {
  expect_at_least("--count", o.count, 1);
  const ModelFile file(o.model);
  const Dataset data = data_for(file, o.data, console);
  expect_at_most("--count", o.count, data.test.size(), ", as many as there are for the test");
  expect_at_most("--count", o.count, most_on_sheet, ": a sheet is drawn no longer");
  const Model model = file.model();
  comet::ThreadPool pool(o.data.threads);
  Model::Pass pass(model, &pool);
  const std::vector<std::string> names = class_names(o, data.test.num_classes());
  std::vector<Plot> plots = {example_sheet(predict(model, data.test, std::size_t(o.count), pass),
                                           data.test.height(), data.test.width(), names)};
  Evaluator evaluator(data.test, std::size_t(file.options().batch_size));
  evaluator.evaluate(model, pass);
  for (std::size_t task = 0; task < evaluator.experts_by_class().size(); ++task)
    plots.push_back(
        expert_by_class(shares_of_rows(evaluator.experts_by_class()[task]), task + 1, names));
  make_directories(o.out);
  const std::vector<bool> drawn = draw(plots, o.out, console);
  for (std::size_t i = 0; i < plots.size(); ++i)
    console.out
        << (std::filesystem::path(o.out) / (plots[i].name + (drawn[i] ? ".svg" : ".tsv"))).string()
        << '\n';
  // Without gnuplot there are none, and draw() has said so.
  if (std::find(drawn.begin(), drawn.end(), true) != drawn.end() &&
      std::find(drawn.begin(), drawn.end(), false) != drawn.end())
    throw std::runtime_error("not every picture could be drawn");
}

}  // namespace

void add_show(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "show", "Draw test examples with the experts that spoke, and experts by class");
  auto o = std::make_shared<ShowOptions>();
  add_model_file(*command, o->model);
  const OptionTable table = table_of(o->data);
  add_options(*command, table, {"data", "second_data", "threads"});
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    command->add_option(name, value, help)
        ->type_name(type)
        ->capture_default_str()
        ->check(what_is_empty);
  };
  option("--count", o->count, "N", "examples on the sheet");
  add_list(*command, "--names", o->names, "NAME,...",
           "of the classes (default those of Fashion-MNIST without --data, else numbers)");
  option("--out", o->out, "DIR", "for the pictures and their data");
  command->callback([o, console] {
    table_of(o->data).check({"threads"});
    show(*o, console);
  });
}

}  // namespace programs::two_pictures
