// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <programs/base/file_error.hpp>
#include <programs/base/file_lock.hpp>
#include <programs/study/trial_summary.hpp>
#include <programs/study/trials.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::TemporaryDirectory;
using programs::FileLock;
using programs::Json;
using programs::Trial;

namespace {

Trial trial_of(int number, double validation, double test, double experts) {
  Trial trial;
  trial.number = number;
  trial.source = "made up";
  trial.options = {{"gate", "comet"}, {"local_search", "none"}, {"gamma", number % 2 + 0.5}};
  trial.epochs = 3;
  trial.best_epoch = 2;
  trial.validation_loss = validation;
  trial.test_loss = test;
  trial.test_measures = {{.name = "auc", .value = 0.8, .is_headline = true},
                         {.name = "mse", .value = 0.9, .is_headline = true}};
  trial.experts_per_sample = experts;
  trial.seconds = 1.5;
  return trial;
}

}  // namespace

TEST_CASE("FileLock: one holder, free after it", "[movielens][file_lock]") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "lock";
  {
    const FileLock held = FileLock::wait_for(file);
    CHECK_FALSE(FileLock::try_for(file));
    CHECK(FileLock::try_for(directory.path() / "other"));
  }
  std::optional<FileLock> next = FileLock::try_for(file);
  REQUIRE(next);
  const FileLock moved = std::move(*next);
  next.reset();
  CHECK_FALSE(FileLock::try_for(file));
  CHECK_THROWS_AS(FileLock::try_for(directory.path() / "none" / "lock"), programs::FileError);
}

TEST_CASE("trials: what is written is read, and half a line is not", "[movielens][trials]") {
  const TemporaryDirectory directory;
  const auto file = directory.write("trials.jsonl", "");
  Trial failed = trial_of(2, 0, 0, 0);
  failed.failure = "it was nan";
  Trial cut = trial_of(1, std::numeric_limits<double>::quiet_NaN(), 2, 3);
  cut.rung = 0;
  append_trial(file, trial_of(0, 0.25, 0.5, 2));
  const std::string whole = comet::test::content_of(file);
  (void)directory.write("trials.jsonl", whole + whole.substr(0, whole.size() / 2));
  CHECK(programs::read_trials(file).size() == 1);
  append_trial(file, cut);
  append_trial(file, failed);
  const std::vector<Trial> trials = programs::read_trials(file);
  REQUIRE(trials.size() == 3);
  CHECK(to_json(trials[0]) == to_json(trial_of(0, 0.25, 0.5, 2)));
  CHECK(trials[1].rung == 0);
  CHECK(std::isinf(trials[1].validation_loss));
  CHECK(trials[2].failure == "it was nan");
  CHECK(std::isinf(trials[2].test_loss));

  (void)directory.write("trials.jsonl", whole + "{\"trial\": 3}\n" + whole);
  CHECK_THROWS_WITH(programs::read_trials(file),
                    file.string() + ":2: is not a trial: \"{\"trial\": 3}\"");
}

TEST_CASE("summary_of: the best 5 % by validation loss, and the front", "[movielens][trials]") {
  // Of 60 trials 3 count; the test loss decides nothing.
  std::vector<Trial> trials;
  for (int i = 0; i < 60; ++i) trials.push_back(trial_of(i, 1.0 + i, 5, 8));
  trials[40] = trial_of(40, 0.1, 2.0, 9);
  trials[30] = trial_of(30, 0.2, 1.0, 6);
  trials[50] = trial_of(50, 0.3, 3.0, 7);
  trials[20] = trial_of(20, 0.4, 0.5, 2);
  Trial cut = trial_of(70, 0.01, 0.01, 1);
  cut.rung = 0;
  trials.push_back(cut);
  const programs::TrialSummary summary = programs::summary_of(trials);
  CHECK(summary.trials == 60);
  CHECK(summary.cut_short == 1);
  CHECK(summary.failed == 0);
  REQUIRE(summary.best.size() == 3);
  CHECK(summary.best[0].number == 40);
  CHECK(summary.test_loss.mean == Approx(2));
  REQUIRE(summary.test_loss.error);
  CHECK(*summary.test_loss.error == Approx(1 / std::sqrt(3.0)));
  REQUIRE(summary.pareto_front.size() == 3);
  CHECK(summary.pareto_front[0].number == 40);
  CHECK(summary.pareto_front[1].number == 30);
  CHECK(summary.pareto_front[2].number == 20);
  CHECK(summary.varied == std::vector<std::string>{"gamma"});
  CHECK_THAT(summary_text(summary),
             ContainsSubstring("test loss 2.0000 +- 0.5774, AUC 0.8000 +- 0.0000, MSE 0.9000"));
  CHECK_THAT(summary_markdown(summary), ContainsSubstring("| trial | validation loss |"));

  const programs::TrialSummary one = programs::summary_of(std::vector{trials[0]});
  CHECK(one.best_share == 1);
  CHECK_FALSE(one.test_loss.error);
  CHECK(programs::best_share(29) == 1);
  CHECK(programs::best_share(30) == 2);
  CHECK(programs::best_share(500) == 25);
}

TEST_CASE("pareto_front: no two rows that print alike", "[movielens][trials]") {
  const std::vector<Trial> order = {trial_of(0, 0.5, 1, 2.004), trial_of(1, 0.50001, 1, 2.001),
                                    trial_of(2, 0.6, 1, 1.5), trial_of(3, 0.7, 1, 1.499)};
  std::vector<int> front;
  for (const Trial& trial : programs::pareto_front(order)) front.push_back(trial.number);
  CHECK(front == std::vector<int>{0, 2});
}
