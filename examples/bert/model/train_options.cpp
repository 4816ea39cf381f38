// SPDX-License-Identifier: MIT
#include <bert/model/train_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <comet/gates/hash.hpp>

#include <bert/data/tasks.hpp>
#include <programs/base/file_error.hpp>

namespace programs::bert {
namespace {

Rule a_share() {
  return expected("from 0 to less than 1", [](double x) { return x >= 0 && x < 1; });
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : tasks()) names.emplace_back(task.name);
  return names;
}

/// 768 of "dense_768", 0 of other names.
std::int64_t dense_units_of(const std::string& row) {
  constexpr std::string_view start = "dense_";
  constexpr std::size_t most_digits = 7;
  if (!row.starts_with(start)) return 0;
  const std::string units = row.substr(start.size());
  if (units.empty() || units.front() == '0' || units.size() > most_digits ||
      units.find_first_not_of("0123456789") != std::string::npos)
    return 0;
  return std::stoll(units);
}

std::vector<Option> data_options(TrainOptions& o) {
  constexpr double shortest = 3;  // two texts, and what is put round them
  return {
      Option("data", &o.data, "DIR", "folder of tasks: TASK/train.tsv and TASK/dev.tsv")
          .not_saved()
          .of_any_bytes(),
      Option("task", &o.task, "TASK", "of GLUE").one_of(task_names()).not_searched(),
      Option("pretrained", &o.pretrained, "DIR",
             "folder of a BERT: config.json, vocab.txt and model.safetensors")
          .not_saved()
          .of_any_bytes(),
      Option("max_length", &o.max_length, "N", "tokens of a sentence or a pair; more are cut off")
          .must_be(expected("at least 3", [](double n) { return n >= shortest; }))
          .not_searched(),
      Option("train_rows", &o.train_rows, "N", "at most, drawn by the seed; 0 for all")
          .must_be(expected("a whole number >= 0", [](double n) { return n >= 0; }))
          .not_searched()};
}

std::vector<Option> student_options(TrainOptions& o) {
  const auto mixes = [&o] { return !is_dense(o.gate); };
  const auto is_cut = [&o] { return o.gate != dense; };
  const auto has_experts = [&o] { return o.gate != dense && o.gate != dense_wide; };
  std::vector<Option> options = choice_options(o, row_names());
  options.back().one_of({no_search, "relaxed"});  // nothing held out for swaps
  const std::vector<Option> own = {
      Option("teacher", &o.teacher, "FILE",
             "the model.safetensors that finetune left; {seed} in it is the seed")
          .not_saved()
          .of_any_bytes(),
      Option("experts", &o.num_experts, "N", "number of experts")
          .must_be(a_size())
          .if_it(has_experts),
      Option("shared", &o.shared, "N", "of the teacher's units, the most important, in all experts")
          .must_be(expected("from 0 to 1048576", [](double n) { return n >= 0 && n <= 1 << 20; }))
          .if_it(has_experts),
      Option("own", &o.own, "N", "of the teacher's units that each expert has for itself")
          .must_be(expected("from 0 to 1048576", [](double n) { return n >= 0 && n <= 1 << 20; }))
          .if_it(has_experts),
      Option("importance_share", &o.importance_share, "X",
             "of the training rows, whose gradients say which units are important")
          .must_be(expected("above 0, at most 1", [](double x) { return x > 0 && x <= 1; }))
          .if_it(is_cut),
      Option("units", &o.units, "N", "of the teacher's that dense_wide has, the most important")
          .must_be(expected("from 0 to 1048576", [](double n) { return n >= 0 && n <= 1 << 20; }))
          .if_it([&o] { return o.gate == dense_wide; }),
      Option("lambda", &o.lambda, "X",
             "weight of the error over the hidden states and of the divergence of the logits")
          .must_be(not_negative())};
  options.insert(options.end(), own.begin(), own.end());
  options.push_back(
      Option("route_by", &o.route_by, "UNIT",
             "what a gate is asked about, but for hash: each token, or the mean of a "
             "sentence, all of whose tokens go the same way")
          .one_of({by_token, by_sentence})
          .if_it([&o] { return o.route_by == by_sentence && may_route_sentences(o.gate); }));
  const std::vector<Option> gate = gate_options(o, o.num_experts, "step");
  for (const Option& option : gate) {
    options.push_back(option);
    if (!option.matters)
      options.back().if_it(mixes);
    else
      options.back().if_it([mixes, matters = option.matters] { return mixes() && matters(); });
  }
  return options;
}

/// What a training on few rows needs; there is no early stopping, so no patience.
std::vector<Option> optimizer_options(TrainOptions& o) {
  std::vector<Option> options = schedule_options(o);
  std::erase_if(options, [&](const Option& option) {
    return option.name == "patience" || (!o.distils && option.name.starts_with("search_"));
  });
  const std::vector<Option> own = {
      Option("steps", &o.steps, "N", "of training, at most; 0 for all of the epochs")
          .must_be(expected("a whole number >= 0", [](double n) { return n >= 0; })),
      Option("warm_up", &o.warm_up, "X",
             "share of the steps in which the learning rate rises from 0; then it falls to 0")
          .must_be(a_share()),
      Option("weight_decay", &o.weight_decay, "X", "of weights, not of biases and norms")
          .must_be(not_negative()),
      Option("clip_norm", &o.clip_norm, "X", "longest gradient").must_be(above_zero()),
      Option("dropout", &o.dropout, "X", "rate, in training").must_be(a_share())};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

}  // namespace

TrainOptions::TrainOptions() {
  k = 1;
  gamma = .1;
  entropy = .1;
  load_balance = .1;
  batch_size = 32;
  search_epochs = 1;
  patience = 1 << 20;
  route_by = by_token;
}

FinetuneOptions::FinetuneOptions() {
  gate = teacher_row;
  learning_rate = 5e-5;
  epochs = 4;
}

DistilOptions::DistilOptions() {
  distils = true;
  learning_rate = 1e-4;
  epochs = 2;
}

const std::vector<std::string>& row_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list = gate_names();
    list.insert(list.end(), {dense, dense_half, dense_one, dense_wide});
    return list;
  }();
  return names;
}

bool is_dense(const std::string& row) {
  return row == teacher_row || row == dense || row == dense_half || row == dense_one ||
         row == dense_wide || dense_units_of(row) > 0;
}

bool may_route_sentences(const std::string& row) {
  const auto& gates = gate_names();
  // A table of pieces.
  return row != comet::HashGate<float>::name && std::count(gates.begin(), gates.end(), row) > 0;
}

Json row_by_name(const std::string& row) {
  if (const std::int64_t units = dense_units_of(row); units > 0)
    return Json{{"gate", dense_wide}, {"units", units}};
  const std::string ending = std::string("_") + by_sentence;
  if (!row.ends_with(ending)) return Json();
  const std::string gate = row.substr(0, row.size() - ending.size());
  if (!may_route_sentences(gate)) return Json();
  return Json{{"gate", gate}, {"route_by", by_sentence}};
}

std::string teacher_of(const TrainOptions& options) {
  constexpr std::string_view mark = "{seed}";
  std::string file = options.teacher;
  for (std::size_t at; (at = file.find(mark)) != std::string::npos;)
    file.replace(at, mark.size(), std::to_string(options.seed));
  return file;
}

std::vector<std::filesystem::path> files_read(const TrainOptions& options) {
  const std::filesystem::path data = options.data, pretrained = options.pretrained;
  return {teacher_of(options),
          pretrained,  // may be the file of a vocabulary
          pretrained / "config.json",
          pretrained / "vocab.txt",
          pretrained / "tokenizer_config.json",
          pretrained / "model.safetensors",
          data / options.task / "train.tsv",
          data / options.task / "dev.tsv",
          data / "train.tsv",  // of a folder that is the task's own
          data / "dev.tsv"};
}

void expect_teacher(const TrainOptions& options) {
  if (options.teacher.empty())
    throw std::invalid_argument("--teacher is missing: the model.safetensors that finetune left");
}

Index dense_units(const TrainOptions& o, Index all) {
  if (o.gate == dense_half) return o.shared + o.num_experts * o.own;
  if (o.gate == dense_wide) return o.units;
  return o.gate == dense_one ? o.shared + o.own : all;
}

void check_units(const TrainOptions& o, Index of_teacher) {
  if (!o.distils || o.gate == dense) return;
  if (o.gate == dense_wide) {
    if (o.units < 1 || o.units > of_teacher)
      throw std::invalid_argument("--units is " + std::to_string(o.units) +
                                  ", expected from 1 to " + std::to_string(of_teacher) +
                                  ", those of the teacher");
    return;
  }
  const Index wanted = o.shared + o.num_experts * o.own;
  if (o.shared + o.own < 1)
    throw std::invalid_argument("--shared and --own are 0, expected an expert of a unit at least");
  if (wanted > of_teacher)
    throw std::invalid_argument("--shared + --experts * --own is " + std::to_string(wanted) +
                                ", expected at most the " + std::to_string(of_teacher) +
                                " units of the teacher");
}

OptionTable table_of(TrainOptions& o) {
  std::vector<std::vector<Option>> groups = {data_options(o)};
  if (o.distils) {
    groups.push_back(student_options(o));
  } else {
    groups.push_back({choice_options(o, {teacher_row}).front()});
  }
  groups.push_back(optimizer_options(o));
  groups.push_back(run_options(o));
  return OptionTable(std::move(groups));
}

void check(const TrainOptions& options) {
  TrainOptions copy = options;
  table_of(copy).check();
  if (options.distils) expect_teacher(options);
  if (is_dense(options.gate) && options.local_search != no_search)
    throw std::invalid_argument("--local-search is " + options.local_search +
                                ", and a dense model has no experts to put in order");
  if (is_dense(options.gate) && !options.record.empty())
    throw std::invalid_argument("--record is " + in_quotes(options.record) +
                                ", and a dense model has no gates to tell of");
  if (options.gate == dense_wide && options.units == 0)
    throw std::invalid_argument("--units is 0, expected the units of dense_wide");
}

Json to_json(const TrainOptions& options) {
  TrainOptions copy = options;
  return table_of(copy).to_json();
}

TrainOptions options_from(const Json& json) {
  TrainOptions options;
  options.distils = json.at("gate") != teacher_row;
  options.gate = json.at("gate");
  if (!options.distils) options.local_search = no_search;
  // What is 0 is not written.
  options.load_balance = 0;
  table_of(options).read(json);
  return options;
}

}  // namespace programs::bert
