// SPDX-License-Identifier: MIT
#include <movielens/model/train_options.hpp>

#include <stdexcept>

namespace programs::movielens {
namespace {

std::vector<Option> data_options(TrainOptions& o) {
  return {Option("data", &o.data, "PATH",
                 "ratings: a file, or a directory with ratings.csv, ratings.dat or u.data\n"
                 "(MovieLens), BX-Book-Ratings.csv (Book-Crossing) or jester-data-1.csv")
              .used(Option::Use::required)
              .not_saved(),
          Option("columns", &o.table.columns, "USER,ITEM,RATING",
                 "of any other table: user, item and rating; each a name, or digits only for\n"
                 "its place from 1 (name:1 is the column named 1)")
              .not_searched()
              .if_it([&o] { return !o.table.columns.empty(); }),
          Option("not_rated", &o.table.not_rated, "VALUE",
                 "rows with this instead of a rating are left out, such as -1 or NA")
              .not_searched()
              .if_it([&o] { return o.table.not_rated.has_value(); }),
          Option("duplicates", &o.table.duplicates, "WHICH",
                 "which rating counts if a user has rated an item more than once, in the order\n"
                 "of the file (default error; of Book-Crossing first)")
              .one_of(duplicates_names())
              .not_searched()
              .if_it([&o] { return !o.table.duplicates.empty(); })};
}

Option expert_option(ModelOptions& o) {
  return Option("experts", &o.num_experts, "N", "number of experts").must_be(a_size());
}

Option weight_option(TrainOptions& o) {
  return Option("task_weights", &o.task_weights, "X,X", "of the losses of watched and of rating")
      .list_of(2)
      .must_be(not_negative());
}

std::vector<Option> model_options(ModelOptions& o) {
  return {Option("embedding_dim", &o.embedding_dim, "N", "numbers per user and per movie")
              .must_be(a_size()),
          Option("expert_dim", &o.expert_dim, "N", "outputs of an expert").must_be(a_size()),
          Option("head_dim", &o.head_dim, "N", "hidden units of a task's head").must_be(a_size()),
          Option("dropout", &o.dropout, "X", "share of the experts' outputs dropped in training")
              .must_be(expected("in [0, 1)", [](double x) { return x >= 0 && x < 1; }))};
}

/// Here seeds draw negatives, too.
std::vector<Option> seeds_and_places(TrainOptions& o) {
  std::vector<Option> options = run_options(o);
  for (Option& option : options) {
    if (option.name == "seed")
      option.help = "split, negatives, start and noise are functions of it";
    if (option.name == "split_seed") option.help = "of split and negatives, if not that of --seed";
  }
  return options;
}

}  // namespace

TaskWeights task_weights(const TrainOptions& o) {
  return {.watched = o.task_weights[0], .rating = o.task_weights[1]};
}

Index num_experts_of(const TrainOptions& o) {
  return num_experts_of_row(o.gate, o.model.num_experts, o.k, 2);
}

OptionTable table_of(TrainOptions& o) {
  return OptionTable({data_options(o),
                      choice_options(o, gates_and_dense_rows()),
                      {expert_option(o.model)},
                      gate_options(o, o.model.num_experts, "epoch"),
                      {weight_option(o)},
                      schedule_options(o),
                      model_options(o.model),
                      seeds_and_places(o)});
}

OptionTable data_table_of(TrainOptions& o) { return OptionTable({data_options(o)}); }

void check(const TrainOptions& options) {
  check(options.table);
  TrainOptions copy = options;
  table_of(copy).check();
  if (task_weights(options).watched + task_weights(options).rating <= 0)
    throw std::invalid_argument("--task-weights is 0,0, expected at least one of them > 0");
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

}  // namespace programs::movielens
