// SPDX-License-Identifier: MIT
#include <next_character/model/train_options.hpp>

#include <algorithm>
#include <cstddef>

namespace programs::next_character {
namespace {

using Use = Option::Use;

/// The gates of the library that have the option.
const std::vector<std::string>& spreading_gates() {
  static const std::vector<std::string> names = {"comet", "dselect_k", "top_k", "sampled",
                                                 "softmax"};
  return names;
}

/// "comet, dselect_k and top_k".
std::string names_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : " and ") + names[i];
  return text;
}

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

std::vector<Option> choice_options_of(TrainOptions& o) {
  return {Option("gate", &o.gate, "GATE", "how experts are chosen, or a dense network")
              .one_of(row_names())
              .used(Use::where_named),
          // For the rooms that all programs share. This one has no search.
          Option("local_search", &o.local_search, "SEARCH", "over the order of the experts")
              .one_of({no_search})
              .used(Use::where_named)
              .not_searched()};
}

std::vector<Option> mixture_options(TrainOptions& o) {
  const auto has_k = [&o] { return is_dense(o.gate) || kind_of(o.gate).has_k; };
  const auto is_smooth = [&o] { return kind_of(o.gate).is_smooth; };
  const Rule up_to_all = [&o](double k) {
    return k >= 1 && k <= double(o.model.num_experts)
               ? std::string()
               : "from 1 to --experts = " + std::to_string(o.model.num_experts);
  };
  return {
      Option("experts", &o.model.num_experts, "N", "number of experts").must_be(a_size()),
      Option("expert_dim", &o.model.expert_dim, "N", "hidden units of an expert").must_be(a_size()),
      Option("k", &o.k, "N",
             "experts per sample of " + gates_with(&GateKind::has_k) +
                 "; a dense network has the cost of so many")
          .must_be(up_to_all)
          .if_it(has_k),
      Option("gamma", &o.gamma, "X",
             "width of the smooth step of " + gates_with(&GateKind::is_smooth))
          .must_be(above_zero())
          .if_it(is_smooth),
      Option("entropy", &o.entropy, "X",
             "strength of the entropy penalty of " + gates_with(&GateKind::is_smooth))
          .must_be(not_negative())
          .if_it(is_smooth),
      Option("spread", &o.spread, "X",
             "strength of the reward for even use of " + names_of(spreading_gates()))
          .must_be(not_negative())
          .if_it([&o] { return can_spread(o.gate); }),
      Option("split_scale", &o.split_scale, "X",
             "of comet's planes at the start, in standard deviations of their logits; 0\n"
             "starts with every expert alike")
          .must_be(not_negative())
          .if_it([&o] { return o.gate == "comet"; }),
      Option("load_balance", &o.load_balance, "X",
             "strength of the penalty of top_k on uneven load")
          .must_be(not_negative())
          .if_it([&o] { return o.gate == "top_k"; }),
      Option("dense_dim", &o.dense_dim, "N",
             "hidden units of dense_wide; 0 for twice those of dense")
          .must_be(expected("from 0 to 1048576",
                            [](double n) { return n >= 0 && n <= double(1 << 20); }))
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
  entropy = 0.01;
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

GateKind kind_of(const std::string& row) {
  return is_dense(row) ? GateKind{.name = row} : gate_kind(row);
}

bool can_spread(const std::string& row) {
  const auto& names = spreading_gates();
  return std::find(names.begin(), names.end(), row) != names.end();
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
  return OptionTable({text_options(o), choice_options_of(o), mixture_options(o),
                      optimizer_options(o), model_options(o.model), run_options(o)});
}

OptionTable text_table_of(TrainOptions& o) { return OptionTable({text_options(o)}); }

void check(const TrainOptions& options) {
  TrainOptions copy = options;
  table_of(copy).check();
}

Json to_json(const TrainOptions& options) {
  TrainOptions copy = options;
  return table_of(copy).to_json();
}

TrainOptions options_from(const Json& json) {
  TrainOptions options;
  table_of(options).read(json);
  return options;
}

}  // namespace programs::next_character
