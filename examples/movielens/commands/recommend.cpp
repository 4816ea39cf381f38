// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/kernels/functions.hpp>

#include <movielens/base/text_table.hpp>
#include <movielens/commands/command_line.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/predictor.hpp>
#include <movielens/model/recommendation.hpp>
#include <movielens/model/train_options.hpp>

namespace movielens {
namespace {

struct RecommendOptions {
  std::string model;
  TrainOptions data;  // data and table
  std::string user;
  int top = 10;
  bool why = false;
};

std::string title_of(const Titles& titles, const std::string& id) {
  const auto found = titles.find(id);
  return found == titles.end() ? "item " + printable(id) : found->second;
}

void offer_most_rated(const Ratings& ratings, const Titles& titles, int top, std::ostream& out) {
  out << "What is rated most often:\n";
  for (const RatedOften& often : most_rated(ratings, top))
    out << formatted("%6d  ", often.count) << title_of(titles, ratings.item_ids[often.item])
        << '\n';
  out.flush();
}

void recommend(const RecommendOptions& o, const Console& console) {
  expect_at_least("--top", o.top, 1);
  const ModelFile file(o.model);
  const Ratings ratings =
      read_ratings(o.data.data, given_or_saved(o.data.table, file.options().table));
  print_notes(ratings.notes, console.err);
  const Titles titles = read_titles(o.data.data, ratings.item_column);
  const auto& users = file.user_ids();
  const auto found = std::find(users.begin(), users.end(), o.user);
  if (found == users.end()) {
    offer_most_rated(ratings, titles, o.top, console.out);
    throw std::invalid_argument("--user is " + o.user + ", not one of the " +
                                std::to_string(users.size()) + " users of " + o.model +
                                "; what is rated most often is offered instead");
  }
  const auto user = std::int32_t(found - users.begin());
  const TwoTaskRows rows = open_pairs(file, user, o.user, ratings);
  if (rows.size() == 0)
    throw std::invalid_argument("--user is " + o.user + ", who has rated everything");
  Predictor predictor(file);
  const Predictions predictions = predictor.predict(rows);
  const auto best = best_rows(predictions, o.top);
  console.out << "stars  watched  title\n";
  for (const std::size_t row : best) {
    const std::string& id = file.item_ids()[std::size_t(rows.item[row])];
    console.out << formatted("%5.2f  %5.1f %%  ", predictions.stars[row],
                             100 * comet::sigmoid(predictions.logits[row]))
                << title_of(titles, id) << '\n';
    if (!o.why) continue;
    std::ostringstream reasons;
    predictor.explain(user, rows.item[row], reasons);
    std::istringstream lines(reasons.str());
    for (std::string line; std::getline(lines, line);) console.out << "    " << line << '\n';
  }
}

}  // namespace

void add_recommend(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "recommend", "Name what a user has not rated and would give most stars");
  auto o = std::make_shared<RecommendOptions>();
  command->add_option("--model", o->model, "model.safetensors of a training")
      ->type_name("FILE")
      ->required();
  add_options(*command, data_table_of(o->data));
  command->add_option("--user", o->user, "as in the ratings")->type_name("ID")->required();
  command->add_option("--top", o->top, "how many titles")->type_name("N")->capture_default_str();
  command->add_flag("--why", o->why,
                    "with the experts that spoke and, for gates that can tell, what was compared");
  command->callback([o, console] { recommend(*o, console); });
}

}  // namespace movielens
