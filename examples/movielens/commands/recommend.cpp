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

#include <movielens/commands/commands.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/predictor.hpp>
#include <movielens/model/recommendation.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::movielens {
namespace {

struct RecommendOptions {
  std::string model;
  TrainOptions data;  // data and table
  std::string user;
  int top = 10;
  int min_ratings = 10;
  std::string why;
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

void print_best(const RecommendOptions& o, const ModelFile& file, const OpenPairs& open,
                const Titles& titles, std::ostream& out) {
  Predictor predictor(file);
  const Predictions predictions = predictor.predict(open.rows);
  const std::int32_t user = open.rows.user.front();
  Reasons reasons = predictor.reasons(user, open.rows.item);
  out << "score  stars  watched  ratings  title\n";
  for (const std::size_t row : best_rows(predictions, o.top)) {
    const std::int32_t item = open.rows.item[row];
    out << formatted("%5.2f  %5.2f  %5.1f %%  %7d  ", score(predictions, row),
                     predictions.stars[row], 100 * comet::sigmoid(predictions.logits[row]),
                     open.ratings[row])
        << title_of(titles, file.item_ids()[std::size_t(item)]) << '\n';
    if (o.why == "short")
      for (const std::string& line : reasons.of(item)) out << "    " << line << '\n';
    if (o.why != "full") continue;
    std::ostringstream path;
    predictor.explain(user, item, path);
    std::istringstream lines(path.str());
    for (std::string line; std::getline(lines, line);) out << "    " << line << '\n';
  }
}

void recommend(const RecommendOptions& o, const Console& console) {
  expect_at_least("--top", o.top, 1);
  expect_at_least("--min-ratings", o.min_ratings, 0);
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
  const OpenPairs open = open_pairs(file, user, o.user, ratings, o.min_ratings);
  if (open.rows.size() == 0)
    throw std::invalid_argument("--user is " + o.user + ", who has rated everything that has " +
                                std::to_string(o.min_ratings) + " ratings or more (--min-ratings)");
  print_best(o, file, open, titles, console.out);
}

}  // namespace

void add_recommend(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "recommend", "Name what a user has not rated, would watch and would give many stars");
  auto o = std::make_shared<RecommendOptions>();
  add_model_file(*command, o->model);
  add_options(*command, data_table_of(o->data));
  command->add_option("--user", o->user, "as in the ratings")->type_name("ID")->required();
  command->add_option("--top", o->top, "how many titles")->type_name("N")->capture_default_str();
  command
      ->add_option("--min-ratings", o->min_ratings,
                   "titles with fewer are left out: little is known of them")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_flag("--why{short}", o->why,
                 "what distinguishes a title from the others, in three lines: the experts asked,\n"
                 "and the largest difference on the way to them; --why=full: all of the way")
      ->check(one_of({"short", "full"}));
  command->footer(
      "Titles are ranked by both tasks: score = probability of watching * stars.\n"
      "\n"
      "Example:\n"
      "  movielens recommend --model model.safetensors --data ml --user 17 --why");
  command->callback([o, console] { recommend(*o, console); });
}

}  // namespace programs::movielens
