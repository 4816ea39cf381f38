// SPDX-License-Identifier: MIT
#include <next_character/model/train_options.hpp>

#include <algorithm>

namespace programs::next_character {
namespace {

std::vector<Option> text_options(TrainOptions& o) {
  return {Option("data", &o.text.data, "PATH",
                 "the text: a file of any kind, or a folder with all texts in it and below\n"
                 "(default the .py files of Python's standard library on this machine)")
              .not_saved(),
          Option("endings", &o.text.endings, ".X,...",
                 "of the files of a folder; by default every file that looks like a text")
              .not_searched(),
          Option("held_out", &o.text.held_out, "N",
                 "characters at the end, of whole files if there are several, that nothing is\n"
                 "learned from; at most a tenth")
              .must_be(a_count())
              .not_searched()};
}

/// The rooms that all programs share know of local search; this program has none.
std::vector<Option> row_options(TrainOptions& o) {
  std::vector<Option> options = choice_options(o, row_names());
  options.back().one_of({no_search}).not_searched();
  return options;
}

std::vector<Option> expert_options(ModelOptions& o) {
  return {Option("experts", &o.num_experts, "N", "number of experts").must_be(a_size()),
          Option("expert_dim", &o.expert_dim, "N", "hidden units of an expert").must_be(a_size())};
}

std::vector<Option> dense_options(TrainOptions& o) {
  constexpr double most = 1 << 20;
  return {Option("dense_dim", &o.dense_dim, "N",
                 "hidden units of dense_wide; 0 for twice those of dense")
              .must_be(expected("from 0 to 1048576", [](double n) { return n >= 0 && n <= most; }))
              .if_it([&o] { return o.gate == dense_wide; })};
}

std::vector<Option> optimizer_options(TrainOptions& o) {
  return {
      Option("steps", &o.steps, "N", "of training").must_be(a_size()),
      Option("batch_size", &o.batch_size, "N", "characters per step").must_be(a_size()),
      Option("validate_every", &o.validate_every, "N", "steps; the weights that were best are kept")
          .must_be(a_size()),
      Option("learning_rate", &o.learning_rate, "X",
             "of AdamW, at the end of the warm-up; it falls to 0 by half a cosine")
          .must_be(above_zero()),
      Option("warm_up", &o.warm_up, "N", "steps").must_be(a_size()),
      Option("weight_decay", &o.weight_decay, "X", "of weights, not of biases and norms")
          .must_be(not_negative()),
      Option("clip_norm", &o.clip_norm, "X", "longest gradient").must_be(above_zero())};
}

std::vector<Option> model_options(ModelOptions& o) {
  return {Option("window", &o.window, "N", "characters that the model sees").must_be(a_size()),
          Option("embedding_dim", &o.embedding_dim, "N", "numbers per character").must_be(a_size()),
          Option("hidden_dim", &o.hidden_dim, "N", "numbers that gate and experts see")
              .must_be(a_size())};
}

}  // namespace

TrainOptions::TrainOptions() {
  k = 1;
  split_scale = 0.2;
  load_balance = 0.01;
  learning_rate = 2e-3;
  batch_size = 2048;
  steps = 2500;
}

const std::vector<std::string>& row_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list = gate_names();
    list.insert(list.end(), {dense, dense_wide, dense_all});
    return list;
  }();
  return names;
}

bool is_dense(const std::string& row) {
  return row == dense || row == dense_wide || row == dense_all;
}

ModelOptions model_of(const TrainOptions& o) {
  ModelOptions model = o.model;
  if (!is_dense(o.gate)) return model;
  model.num_experts = 1;
  if (o.gate == dense_all) {
    model.expert_dim *= o.model.num_experts;
  } else if (o.gate == dense_wide && o.dense_dim > 0) {
    model.expert_dim = o.dense_dim;
  } else {
    model.expert_dim *= o.gate == dense_wide ? 2 * o.k : o.k;
  }
  return model;
}

OptionTable table_of(TrainOptions& o) {
  return OptionTable({text_options(o), row_options(o), expert_options(o.model),
                      gate_options(o, o.model.num_experts, "step"), dense_options(o),
                      optimizer_options(o), model_options(o.model), run_options(o)});
}

void check(const TrainOptions& options) {
  TrainOptions copy = options;
  table_of(copy).check();
}

bool takes_in(const TrainOptions& options, const std::filesystem::path& file) {
  return is_of_text(options.text, file);
}

Json to_json(const TrainOptions& options) {
  TrainOptions copy = options;
  return table_of(copy).to_json();
}

TrainOptions options_from(const Json& json) {
  TrainOptions options;
  // What is 0 is not written.
  options.split_scale = options.load_balance = 0;
  table_of(options).read(json);
  return options;
}

}  // namespace programs::next_character
