// SPDX-License-Identifier: MIT
#include <movielens/training/train_options.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include <CLI/CLI.hpp>

namespace movielens {
namespace {

template <class Value>
void check(bool holds, const char* option, Value value, const std::string& expectation) {
  if (holds) return;
  std::ostringstream text;
  text << option << " is " << value << ", expected " << expectation;
  throw std::invalid_argument(text.str());
}

void check_size(const char* option, Index value) {
  constexpr Index most = Index{1} << 20;
  check(value >= 1 && value <= most, option, value, "from 1 to " + std::to_string(most));
}

void check_strength(const char* option, double value) {
  check(value >= 0 && std::isfinite(value), option, value, "a number >= 0");
}

void check_positive(const char* option, double value) {
  check(value > 0 && std::isfinite(value), option, value, "a number > 0");
}

}  // namespace

const std::vector<std::string>& gate_names() {
  static const std::vector<std::string> names = {"comet", "dselect_k", "top_k", "hash", "softmax"};
  return names;
}

const std::vector<std::string>& local_search_names() {
  static const std::vector<std::string> names = {"none", "relaxed", "swap"};
  return names;
}

void check(const TrainOptions& o) {
  check(o.table);
  check_size("--experts", o.model.num_experts);
  check(o.k >= 1 && o.k <= o.model.num_experts, "--k", o.k,
        "from 1 to --experts = " + std::to_string(o.model.num_experts));
  check_positive("--gamma", o.gamma);
  check_strength("--entropy", o.entropy);
  for (const double weight : o.task_weights) check_strength("--task-weights", weight);
  check_positive("--learning-rate", o.learning_rate);
  check_size("--batch-size", o.batch_size);
  check_size("--epochs", o.epochs);
  check_size("--patience", o.patience);
  check_size("--search-epochs", o.search_epochs);
  for (const double temperature : o.search_temperatures)
    check_positive("--search-temperatures", temperature);
  check(o.search_temperatures[1] <= o.search_temperatures[0], "--search-temperatures",
        o.search_temperatures[1], "the second not above the first");
  check_size("--embedding-dim", o.model.embedding_dim);
  check_size("--expert-dim", o.model.expert_dim);
  check_size("--head-dim", o.model.head_dim);
  check(o.model.dropout >= 0 && o.model.dropout < 1, "--dropout", o.model.dropout, "in [0, 1)");
  check(o.seed >= 0, "--seed", o.seed, "a whole number >= 0");
  if (o.split_seed) check(*o.split_seed >= 0, "--split-seed", *o.split_seed, "a whole number >= 0");
  if (o.checkpoint_every)
    check(*o.checkpoint_every >= 0, "--checkpoint-every", *o.checkpoint_every,
          "a whole number >= 0");
  check(o.threads >= 0 && o.threads <= 1024, "--threads", o.threads, "from 0 to 1024");
}

void add_data_options(CLI::App& command, TrainOptions& o) {
  command
      .add_option("--data", o.data,
                  "ratings: a file, or a directory with ratings.csv, ratings.dat or u.data\n"
                  "(MovieLens), BX-Book-Ratings.csv (Book-Crossing) or jester-data-1.csv")
      ->type_name("PATH")
      ->required();
  command
      .add_option("--columns", o.table.columns,
                  "of any other table: user, item and rating; each a name, or digits only for\n"
                  "its place from 1 (name:1 is the column named 1)")
      ->type_name("USER,ITEM,RATING")
      ->delimiter(',')
      ->expected(1, 32)  // check() wants three
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  command
      .add_option("--not-rated", o.table.not_rated,
                  "rows with this instead of a rating are left out, such as -1 or NA")
      ->type_name("VALUE");
  command
      .add_option("--duplicates", o.table.duplicates,
                  "which rating counts if a user has rated an item more than once, in the order\n"
                  "of the file (default error; of Book-Crossing first)")
      ->type_name("WHICH")
      ->check(CLI::IsMember(duplicates_names()));
}

void add_options(CLI::App& command, TrainOptions& o) {
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command.add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  const auto pair = [&](const char* name, auto& value, const char* help) {
    option(name, value, "X,X", help)
        ->delimiter(',')
        ->expected(2)
        ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  };
  add_data_options(command, o);
  option("--experts", o.model.num_experts, "N", "number of experts");
  option("--k", o.k, "N", "experts per sample of comet, dselect_k and top_k");
  option("--gamma", o.gamma, "X", "width of the smooth step of comet and dselect_k");
  option("--entropy", o.entropy, "X", "strength of the entropy penalty of comet and dselect_k");
  pair("--task-weights", o.task_weights, "of the losses of watched and of rating");
  option("--learning-rate", o.learning_rate, "X", "of Adam");
  option("--batch-size", o.batch_size, "N", "samples per step");
  option("--epochs", o.epochs, "N", "passes over the training rows, at most");
  option("--patience", o.patience, "N", "epochs without a better validation loss before the end");
  option("--search-epochs", o.search_epochs, "N", "epochs that a local search takes part in");
  pair("--search-temperatures", o.search_temperatures,
       "of the relaxed search, at its start and at its end");
  option("--embedding-dim", o.model.embedding_dim, "N", "numbers per user and per movie");
  option("--expert-dim", o.model.expert_dim, "N", "outputs of an expert");
  option("--head-dim", o.model.head_dim, "N", "hidden units of a task's head");
  option("--dropout", o.model.dropout, "X", "share of the experts' outputs dropped in training");
  option("--threads", o.threads, "N", "0 for all cores; the figures do not depend on it");
  command.add_flag("--quiet", o.quiet, "no progress, only the table");
}

Json to_json(const TrainOptions& o) {
  Json json = {{"gate", o.gate},
               {"local_search", o.local_search},
               {"experts", o.model.num_experts},
               {"task_weights", o.task_weights},
               {"learning_rate", o.learning_rate},
               {"batch_size", o.batch_size},
               {"epochs", o.epochs},
               {"patience", o.patience},
               {"embedding_dim", o.model.embedding_dim},
               {"expert_dim", o.model.expert_dim},
               {"head_dim", o.model.head_dim},
               {"dropout", o.model.dropout},
               {"seed", o.seed},
               {"split_seed", o.split_seed.value_or(o.seed)}};
  const bool is_smooth = o.gate == "comet" || o.gate == "dselect_k";
  if (is_smooth || o.gate == "top_k") json["k"] = o.k;
  if (is_smooth) {
    json["gamma"] = o.gamma;
    json["entropy"] = o.entropy;
  }
  if (o.local_search != "none") json["search_epochs"] = o.search_epochs;
  if (o.local_search == "relaxed") json["search_temperatures"] = o.search_temperatures;
  if (!o.from_pretrained.empty()) json["from_pretrained"] = o.from_pretrained;
  if (!o.table.columns.empty()) json["columns"] = o.table.columns;
  if (o.table.not_rated) json["not_rated"] = *o.table.not_rated;
  if (!o.table.duplicates.empty()) json["duplicates"] = o.table.duplicates;
  return json;
}

TrainOptions options_from(const Json& json) {
  TrainOptions o;
  json.at("gate").get_to(o.gate);
  json.at("local_search").get_to(o.local_search);
  json.at("experts").get_to(o.model.num_experts);
  json.at("task_weights").get_to(o.task_weights);
  json.at("learning_rate").get_to(o.learning_rate);
  json.at("batch_size").get_to(o.batch_size);
  json.at("epochs").get_to(o.epochs);
  json.at("patience").get_to(o.patience);
  json.at("embedding_dim").get_to(o.model.embedding_dim);
  json.at("expert_dim").get_to(o.model.expert_dim);
  json.at("head_dim").get_to(o.model.head_dim);
  json.at("dropout").get_to(o.model.dropout);
  json.at("seed").get_to(o.seed);
  o.split_seed = json.at("split_seed").get<std::int64_t>();
  o.k = json.value("k", o.k);
  o.gamma = json.value("gamma", o.gamma);
  o.entropy = json.value("entropy", o.entropy);
  o.search_epochs = json.value("search_epochs", o.search_epochs);
  o.search_temperatures = json.value("search_temperatures", o.search_temperatures);
  o.from_pretrained = json.value("from_pretrained", o.from_pretrained);
  o.table.columns = json.value("columns", o.table.columns);
  if (json.contains("not_rated")) o.table.not_rated = json["not_rated"].get<std::string>();
  o.table.duplicates = json.value("duplicates", o.table.duplicates);
  const auto& gates = gate_names();
  if (std::find(gates.begin(), gates.end(), o.gate) == gates.end() || o.task_weights.size() != 2 ||
      o.search_temperatures.size() != 2)
    throw std::invalid_argument("gate, task_weights or search_temperatures");
  return o;
}

}  // namespace movielens
