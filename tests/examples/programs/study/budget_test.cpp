// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <programs/study/budget.hpp>
#include <programs/study/trials.hpp>

#include <support/catch.hpp>

using comet::RandomKey;
using programs::BudgetGroup;
using programs::expected_best;
using programs::Factor;
using programs::Score;
using programs::Trial;
using programs::trials_to_reach;

namespace {

/// The mean over all subsets of m scores, one by one.
double mean_over_subsets(const std::vector<Score>& scores, std::size_t m) {
  double sum = 0;
  int count = 0;
  for (std::size_t subset = 0; subset < (std::size_t{1} << scores.size()); ++subset) {
    std::size_t size = 0;
    const Score* best = nullptr;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (((subset >> i) & 1U) == 0) continue;
      ++size;
      if (!best || scores[i].validation_loss < best->validation_loss) best = &scores[i];
    }
    if (size != m) continue;
    sum += best->test_loss;
    ++count;
  }
  return sum / count;
}

std::vector<Score> random_scores(std::size_t count, RandomKey key, double shift = 0) {
  std::vector<Score> scores;
  for (std::size_t i = 0; i < count; ++i) {
    const double loss = key.uniform(2 * i) + shift;
    scores.push_back({loss, loss + 0.3 * key.uniform(2 * i + 1)});
  }
  return scores;
}

BudgetGroup group_of(const std::string& search, std::vector<Score> scores) {
  return {"comet", search, scores, expected_best(scores)};
}

Trial trial_of(int number, const std::string& search, double loss) {
  Trial trial;
  trial.number = number;
  trial.source = "made up";
  trial.options = {{"gate", "comet"}, {"local_search", search}, {"epochs", 6}, {"seed", number}};
  trial.validation_loss = trial.test_loss = loss;
  return trial;
}

}  // namespace

TEST_CASE("expected_best: the mean over all subsets", "[movielens][budget]") {
  const std::vector<Score> scores = random_scores(9, RandomKey(4));
  const std::vector<double> curve = expected_best(scores);
  REQUIRE(curve.size() == 9);
  for (std::size_t m = 1; m <= 9; ++m) CHECK(curve[m - 1] == Approx(mean_over_subsets(scores, m)));
  // One trial: the mean of all. All trials: the best by validation loss, not by test loss.
  CHECK(expected_best({{1, 5}, {2, 3}}) == std::vector<double>{4, 5});

  // A failed trial counts only where it can be the best.
  const double infinity = std::numeric_limits<double>::infinity();
  const auto failed = expected_best({{1, 1}, {infinity, infinity}, {2, 2}});
  CHECK(std::isinf(failed[0]));
  CHECK(failed[1] == Approx((1 + 1 + 2) / 3.0));
  CHECK(failed[2] == 1);

  // Probabilities stay probabilities where binomial coefficients would overflow.
  const auto many = expected_best(std::vector<Score>(3000, Score{1, 2}));
  for (const std::size_t m : {1U, 10U, 1500U, 2999U, 3000U})
    CHECK(many[m - 1] == Approx(2).epsilon(1e-9));
}

TEST_CASE("trials_to_reach: between two budgets, or never", "[movielens][budget]") {
  const std::vector<double> curve = {8, 4, 2, 3};
  CHECK(trials_to_reach(curve, 9) == 1.0);
  CHECK(trials_to_reach(curve, 8) == 1.0);
  CHECK(*trials_to_reach(curve, 5) == Approx(1.75));
  CHECK(*trials_to_reach(curve, 2) == Approx(3));
  CHECK_FALSE(trials_to_reach(curve, 1.9));
}

TEST_CASE("saving: a factor, or a bound of it", "[movielens][budget]") {
  const std::vector<double> slow = {8, 7, 6, 5, 4};
  const std::vector<double> fast = {6, 4.5, 4};
  CHECK(programs::saving(slow, fast, 6)->value == Approx(3));
  CHECK(programs::saving(slow, fast, 6)->kind == Factor::Kind::exact);
  CHECK(programs::saving(fast, slow, 6)->value == Approx(1 / 3.0));
  const auto at_most = programs::saving(slow, std::vector<double>{9, 8}, 5);
  CHECK(at_most->value == Approx(2));  // 4 trials against more than 2
  CHECK(at_most->kind == Factor::Kind::at_most);
  const auto at_least = programs::saving(std::vector<double>{9, 8}, slow, 8);
  CHECK(at_least->kind == Factor::Kind::exact);
  CHECK(programs::saving(std::vector<double>{9, 8}, fast, 6)->kind == Factor::Kind::at_least);
  CHECK(programs::saving(std::vector<double>{9, 8}, fast, 6)->value == Approx(2));
  CHECK_FALSE(programs::saving(slow, fast, 1));
}

TEST_CASE("savings: intervals hold the factor, and are a function of the key",
          "[movielens][budget]") {
  const std::vector<BudgetGroup> groups = {group_of("none", random_scores(40, RandomKey(1))),
                                           group_of("relaxed", random_scores(40, RandomKey(2))),
                                           group_of("swap", random_scores(40, RandomKey(3), -0.3))};
  const auto savings = programs::savings(groups, std::nullopt, 200, RandomKey(5));
  REQUIRE(savings.size() == 6);  // two searches; a quarter, half and all of the trials
  for (const auto& saving : savings) {
    REQUIRE(saving.factor);
    REQUIRE((saving.low && saving.high));
    CHECK(saving.low->value <= saving.high->value);
    if (saving.budget == 10) {
      CHECK(saving.low->value <= saving.factor->value);
      CHECK(saving.factor->value <= saving.high->value);
    }
  }
  // Another draw from the same distribution saves nothing for certain; a shifted one does.
  CHECK(savings[0].budget == 10);
  CHECK(savings[0].low->value < 1);
  CHECK(savings[0].high->value > 1);
  CHECK(savings[3].local_search == "swap");
  CHECK(savings[3].low->value > 1);
  CHECK(to_json(groups, savings) ==
        to_json(groups, programs::savings(groups, std::nullopt, 200, RandomKey(5))));

  const auto fixed = programs::savings(groups, 0.4, 50, RandomKey(5));
  REQUIRE(fixed.size() == 2);
  CHECK(fixed[0].target == 0.4);
  CHECK_FALSE(fixed[0].budget);
  CHECK_THAT(saving_table(fixed), ContainsSubstring("comet  swap"));
  CHECK_THAT(curve_table(groups), ContainsSubstring("trials") && ContainsSubstring("comet, swap"));
}

TEST_CASE("budget_groups: by gate and search, and only what can be compared",
          "[movielens][budget][error]") {
  std::vector<Trial> trials = {trial_of(0, "none", 2), trial_of(1, "swap", 1),
                               trial_of(2, "none", 4)};
  const auto groups = programs::budget_groups(trials);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].local_search == "none");
  CHECK(groups[0].curve == std::vector<double>{3, 2});
  CHECK(groups[1].curve == std::vector<double>{1});

  const auto refused = [&](auto change, const std::string& reason) {
    std::vector<Trial> changed = trials;
    change(changed[2]);
    CHECK_THROWS_WITH(programs::budget_groups(changed), "trial 2 of comet " + reason);
  };
  refused([](Trial& t) { t.options["epochs"] = 7; },
          "has epochs 7, the first one 6: their losses cannot be compared");
  refused([](Trial& t) { t.source = "else"; }, "is of the data else, the first one of made up");
  refused([](Trial& t) { t.rung = 1; },
          "is from a search with --halving, whose trials are no random sample");
  refused([](Trial& t) { t.options["seed"] = 0; }, "comes twice");
}
