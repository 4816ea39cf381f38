// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/kernels/functions.hpp>

#include <movielens/base/text_table.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>
#include <movielens/training/model_file.hpp>
#include <movielens/training/predictor.hpp>

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

/// The first `count` of 0..n-1 in an order.
template <class Before>
std::vector<std::size_t> first_of(std::size_t n, int count, Before before) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto end = order.begin() + std::min(std::ptrdiff_t(n), std::ptrdiff_t(count));
  std::partial_sort(order.begin(), end, order.end(), before);
  order.erase(end, order.end());
  return order;
}

void offer_most_rated(const Ratings& ratings, const Titles& titles, int top, std::ostream& out) {
  std::vector<int> count(std::size_t(ratings.num_items()), 0);
  for (const std::int32_t item : ratings.item) ++count[std::size_t(item)];
  out << "What is rated most often:\n";
  for (const std::size_t item : first_of(count.size(), top, [&](std::size_t a, std::size_t b) {
         return count[a] != count[b] ? count[a] > count[b] : a < b;
       }))
    out << formatted("%6d  ", count[item]) << title_of(titles, ratings.item_ids[item]) << '\n';
  out.flush();
}

/// The pairs of a user with all items that the user has not rated.
TwoTaskRows open_pairs(const ModelFile& file, std::int32_t user, const std::string& user_id,
                       const Ratings& ratings) {
  std::unordered_set<std::string> rated;
  const auto found = std::find(ratings.user_ids.begin(), ratings.user_ids.end(), user_id);
  if (found != ratings.user_ids.end())
    for (const std::int32_t item : ratings.items_of(std::int32_t(found - ratings.user_ids.begin())))
      rated.insert(ratings.item_ids[std::size_t(item)]);
  TwoTaskRows rows;
  for (std::size_t item = 0; item < file.item_ids().size(); ++item)
    if (!rated.contains(file.item_ids()[item])) rows.item.push_back(std::int32_t(item));
  rows.user.assign(rows.item.size(), user);
  rows.watched.assign(rows.item.size(), 0.0F);
  rows.rating.assign(rows.item.size(), 0.0F);
  return rows;
}

void recommend(const RecommendOptions& o, const Console& console) {
  if (o.top < 1)
    throw std::invalid_argument("--top is " + std::to_string(o.top) + ", expected at least 1");
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
  const auto predictor = open_predictor(file);
  const Predictions predictions = predictor->predict(rows);
  const auto best = first_of(rows.size(), o.top, [&](std::size_t a, std::size_t b) {
    return predictions.stars[a] != predictions.stars[b]
               ? predictions.stars[a] > predictions.stars[b]
               : a < b;
  });
  console.out << "stars  watched  title\n";
  for (const std::size_t row : best) {
    const std::string& id = file.item_ids()[std::size_t(rows.item[row])];
    console.out << formatted("%5.2f  %5.1f %%  ", predictions.stars[row],
                             100 * comet::sigmoid(predictions.logits[row]))
                << title_of(titles, id) << '\n';
    if (!o.why) continue;
    std::ostringstream reasons;
    predictor->explain(user, rows.item[row], reasons);
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
  add_data_options(*command, o->data);
  command->add_option("--user", o->user, "as in the ratings")->type_name("ID")->required();
  command->add_option("--top", o->top, "how many titles")->type_name("N")->capture_default_str();
  command->add_flag("--why", o->why,
                    "with the experts that spoke and, for comet, the way through each tree");
  command->callback([o, console] { recommend(*o, console); });
}

}  // namespace movielens
