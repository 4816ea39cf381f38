// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <programs/study/trials.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using programs::Json;
using programs::movielens::test::Child;
using programs::movielens::test::lines_in;
using programs::movielens::test::Outcome;
using programs::movielens::test::run_program;

namespace {

/// A small set, a small model and a small space: a trial takes some hundredths of a second.
class Tuning {
 public:
  Tuning() {
    REQUIRE(
        run_program({"synthesize", data(), "--users", "30", "--items", "40", "--ratings", "400"})
            .code == 0);
    (void)directory.write("space.json", R"({
      "gate": "top_k", "experts": 5, "embedding_dim": 4, "expert_dim": 6, "head_dim": 6,
      "batch_size": 64, "learning_rate": {"log_uniform": [1e-4, 1e-1]},
      "k": {"integer": [1, 3]}})");
  }

  [[nodiscard]] std::string data() const { return (directory.path() / "data").string(); }
  [[nodiscard]] std::filesystem::path folder(const std::string& name) const {
    return directory.path() / "results" / name;
  }
  [[nodiscard]] std::vector<std::string> arguments(const std::string& name,
                                                   const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"tune",
                                    "--data",
                                    data(),
                                    "--space",
                                    (directory.path() / "space.json").string(),
                                    "--results",
                                    (directory.path() / "results").string(),
                                    "--experiment-name",
                                    name,
                                    "--epochs",
                                    "2",
                                    "--trials",
                                    "6"};
    all.insert(all.end(), more.begin(), more.end());
    return programs::test::last_of_each(all);
  }
  [[nodiscard]] Outcome tune(const std::string& name,
                             const std::vector<std::string>& more = {}) const {
    return run_program(arguments(name, more));
  }

  /// The finished trials in the order of their numbers, without times.
  [[nodiscard]] std::vector<Json> trials(const std::string& name) const {
    std::vector<Json> trials;
    for (programs::Trial& trial : programs::read_trials(folder(name) / "trials.jsonl")) {
      trial.seconds = 0;
      trials.push_back(to_json(trial));
    }
    std::sort(trials.begin(), trials.end(),
              [](const Json& a, const Json& b) { return a.at("trial") < b.at("trial"); });
    return trials;
  }

  TemporaryDirectory directory;
};

}  // namespace

TEST_CASE("movielens tune: the same trials in any order, and a summary", "[movielens][tune]") {
  const Tuning tuning;
  const Outcome one = tuning.tune("one", {"--parallel", "1"});
  INFO(one.err);
  REQUIRE(one.code == 0);
  CHECK(lines_in(one.err) == 2 + 6);
  for (const char c : one.err + one.out) CHECK((c == '\n' || c >= ' '));
  CHECK_THAT(one.err, ContainsSubstring("6/6  trial 5  validation loss"));
  CHECK_THAT(one.out, ContainsSubstring("6 trials\n\nBest 5 % by validation loss (1)"));

  const std::vector<Json> trials = tuning.trials("one");
  REQUIRE(trials.size() == 6);
  std::size_t best = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(trials[i].at("trial") == i);
    CHECK(trials[i].at("options").at("split_seed") == 1);
    CHECK(trials[i].at("options").at("epochs") == 2);
    const double experts = trials[i].at("validation").at("experts_per_sample");
    CHECK(experts == Approx(trials[i].at("options").at("k").get<double>()));
    const auto loss = [&](std::size_t t) {
      return trials[t].at("validation").at("loss").get<double>();
    };
    if (loss(i) < loss(best)) best = i;
    const Json result = Json::parse(
        content_of(tuning.folder("one") / "trials" / ("000" + std::to_string(i)) / "result.json"));
    CHECK(result.at("test").at("loss") == trials[i].at("test").at("loss"));
  }
  CHECK(trials[0].at("options").at("seed") != trials[1].at("options").at("seed"));
  const Json summary = Json::parse(content_of(tuning.folder("one") / "summary.json"));
  CHECK(summary.at("best")[0].at("trial") == best);
  CHECK(summary.at("test_loss").at("mean") == trials[best].at("test").at("loss"));
  CHECK(std::filesystem::exists(tuning.folder("one") / "summary.md"));

  REQUIRE(tuning.tune("three", {"--parallel", "3", "--quiet"}).code == 0);
  CHECK(tuning.trials("three") == trials);

  // A trial is an ordinary training.
  const Json& options = trials[3].at("options");
  const std::string out = tuning.folder("train").string();
  REQUIRE(run_program({"train",
                       "--data",
                       tuning.data(),
                       "--gate",
                       "top_k",
                       "--experts",
                       "5",
                       "--embedding-dim",
                       "4",
                       "--expert-dim",
                       "6",
                       "--head-dim",
                       "6",
                       "--batch-size",
                       "64",
                       "--epochs",
                       "2",
                       "--learning-rate",
                       options.at("learning_rate").dump(),
                       "--k",
                       options.at("k").dump(),
                       "--seed",
                       options.at("seed").dump(),
                       "--split-seed",
                       "1",
                       "--out",
                       out,
                       "--quiet"})
              .code == 0);
  CHECK(Json::parse(content_of(out + "/result.json")).at("test").at("loss") ==
        trials[3].at("test").at("loss"));
}

TEST_CASE("movielens tune --resume: more trials, and none twice", "[movielens][tune]") {
  const Tuning tuning;
  REQUIRE(tuning.tune("whole").code == 0);
  REQUIRE(tuning.tune("parts", {"--trials", "2"}).code == 0);
  const std::string first = content_of(tuning.folder("parts") / "trials.jsonl");
  const Outcome again = tuning.tune("parts");
  CHECK(again.code == 2);
  CHECK_THAT(again.err, ContainsSubstring("is not empty; --resume"));
  CHECK(lines_in(again.err) == 1);
  CHECK(content_of(tuning.folder("parts") / "trials.jsonl") == first);

  // A crash in the middle of a line.
  std::ofstream(tuning.folder("parts") / "trials.jsonl", std::ios::app) << R"({"trial": 2, "opt)";
  REQUIRE(tuning.tune("parts", {"--resume"}).code == 0);
  const std::string second = content_of(tuning.folder("parts") / "trials.jsonl");
  CHECK(second.starts_with(first));
  CHECK(lines_in(second) == 6);
  CHECK(tuning.trials("parts") == tuning.trials("whole"));
  REQUIRE(tuning.tune("parts", {"--resume"}).code == 0);
  CHECK(content_of(tuning.folder("parts") / "trials.jsonl") == second);

  // Another search does not go on with this one.
  const std::string file = (tuning.folder("parts") / "trials.jsonl").string();
  const Outcome longer = tuning.tune("parts", {"--resume", "--epochs", "3"});
  CHECK(longer.code == 2);
  // Which trial came first is up to the threads.
  CHECK_THAT(longer.err, ContainsSubstring(file + ": trial "));
  CHECK(longer.err.ends_with(" has epochs 2, this search gives it 3\n"));
  CHECK(tuning.tune("parts", {"--resume", "--seed", "2"}).code == 2);
  const std::string others = (tuning.directory.path() / "others").string();
  REQUIRE(run_program({"synthesize", others, "--users", "30", "--items", "40", "--ratings", "401"})
              .code == 0);
  const Outcome other_data = tuning.tune("parts", {"--resume", "--data", others});
  CHECK(other_data.code == 2);
  CHECK_THAT(
      other_data.err,
      ContainsSubstring(" has data \"synthetic, NOT MovieLens: 30 users, 40 items, 400 ratings") &&
          ContainsSubstring("this search gives it \"synthetic, NOT MovieLens: 30 users, 40 "
                            "items, 401 ratings"));
  // Not even if they have the same name.
  std::string ratings = content_of(tuning.data() + "/ratings.csv");
  const std::size_t stars = ratings.find(".0,");
  REQUIRE(stars != std::string::npos);
  ratings.replace(stars, 2, ".5");
  std::ofstream(tuning.data() + "/ratings.csv") << ratings;
  const Outcome changed = tuning.tune("parts", {"--resume"});
  CHECK(changed.code == 2);
  CHECK(lines_in(changed.err) == 1);
  CHECK_THAT(changed.err, ContainsSubstring(" has data of the content "));
  CHECK(content_of(file) == second);
}

TEST_CASE("movielens tune: a trial that diverges is told of, and the others go on",
          "[movielens][tune]") {
  const Tuning tuning;
  const auto space = tuning.directory.write("rash.json", R"({
      "gate": "top_k", "experts": 5, "embedding_dim": 4, "expert_dim": 6, "head_dim": 6,
      "batch_size": 64, "learning_rate": {"categorical": [1e10, 0.01]}})");
  const Outcome outcome = tuning.tune("rash", {"--space", space.string()});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  std::size_t failed = 0;
  for (const Json& trial : tuning.trials("rash")) {
    const bool is_rash = trial.at("options").at("learning_rate") == 1e10;
    CHECK(trial.contains("failure") == is_rash);
    if (is_rash)
      CHECK_THAT(trial.at("failure").get<std::string>(),
                 StartsWith("the training diverged after step "));
    failed += is_rash ? 1 : 0;
  }
  REQUIRE(failed > 0);
  REQUIRE(failed < 6);
  CHECK_THAT(outcome.out,
             ContainsSubstring("6 trials, " + std::to_string(failed) + " of them failed"));
}

TEST_CASE("movielens tune: killed at any moment and resumed, the trials are the same",
          "[movielens][tune][law]") {
  const Tuning tuning;
  REQUIRE(tuning.tune("calm").code == 0);
  std::vector<std::string> arguments = tuning.arguments("killed", {"--resume", "--parallel", "2"});
  arguments.insert(arguments.end(), {"--quiet"});
  const comet::RandomKey key(7);
  int kills = 0;
  for (int attempt = 0; attempt < 6; ++attempt) {
    Child child(arguments, tuning.directory.path() / "err");
    ::usleep(static_cast<useconds_t>(2000 + key.index(static_cast<std::uint64_t>(attempt), 60000)));
    kills += child.end(SIGKILL) < 0 ? 1 : 0;
  }
  CHECK(kills > 0);
  REQUIRE(run_program(arguments).code == 0);
  CHECK(tuning.trials("killed") == tuning.trials("calm"));
}

TEST_CASE("movielens tune: two processes share a folder", "[movielens][tune]") {
  const Tuning tuning;
  // So many that neither can do all of them before the other begins.
  REQUIRE(tuning.tune("alone", {"--trials", "40"}).code == 0);
  const std::vector<std::string> arguments =
      tuning.arguments("shared", {"--resume", "--parallel", "1", "--trials", "40"});
  const auto err = tuning.directory.path() / "err";
  Child child(arguments, err);
  const auto log = tuning.folder("shared") / "trials.jsonl";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (lines_in(content_of(log)) == 0 && std::chrono::steady_clock::now() < deadline)
    ::usleep(1000);
  const Outcome here = run_program(arguments);
  CHECK(child.wait() == 0);
  CHECK(here.code == 0);
  const auto trials_in = [](const std::string& text) {
    const std::string word = "  trial ";
    std::size_t count = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
    return count;
  };
  const std::size_t of_child = trials_in(content_of(err)), of_here = trials_in(here.err);
  CHECK(of_child > 0);
  CHECK(of_here > 0);
  CHECK(of_child + of_here == 40);
  CHECK(tuning.trials("shared") == tuning.trials("alone"));
}

TEST_CASE("movielens tune --halving: the better half goes on", "[movielens][tune]") {
  const Tuning tuning;
  const std::vector<std::string> more = {"--halving", "--epochs", "4"};
  REQUIRE(tuning.tune("halved", more).code == 0);
  const std::vector<Json> trials = tuning.trials("halved");
  const auto of_rung = [&](const Json& rung) {
    std::vector<Json> result;
    for (const Json& trial : trials)
      if ((trial.contains("rung") ? trial.at("rung") : Json()) == rung) result.push_back(trial);
    std::sort(result.begin(), result.end(), [](const Json& a, const Json& b) {
      return a.at("validation").at("loss") < b.at("validation").at("loss");
    });
    return result;
  };
  // 6 trials and 4 epochs: 6 for one epoch, 3 for two, 2 for four.
  const auto first = of_rung(0);
  const auto second = of_rung(1);
  const auto last = of_rung(Json());
  REQUIRE(first.size() == 6);
  REQUIRE(second.size() == 3);
  REQUIRE(last.size() == 2);
  CHECK(first[0].at("epochs") == 1);
  CHECK(second[0].at("epochs") == 2);
  CHECK(last[0].at("epochs") == 4);
  const auto holds = [](const std::vector<Json>& list, std::size_t count, const Json& number) {
    return std::any_of(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count),
                       [&](const Json& trial) { return trial.at("trial") == number; });
  };
  for (const Json& trial : second) CHECK(holds(first, 3, trial.at("trial")));
  for (const Json& trial : last) CHECK(holds(second, 2, trial.at("trial")));
  CHECK_THAT(content_of(tuning.folder("halved") / "summary.md"),
             ContainsSubstring("2 trials; halving cut 4 others short"));
  const Outcome plain = tuning.tune("halved", {"--resume", "--epochs", "4"});
  CHECK(plain.code == 2);
  CHECK_THAT(plain.err, ContainsSubstring("has rung 0, this search gives it none"));
  const auto refused = [&](const std::string& epochs, const std::string& reason) {
    const Outcome outcome = tuning.tune("halved", {"--resume", "--halving", "--epochs", epochs});
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
  };
  refused("8", "has epochs 1, this search gives it 2");
  refused("1", "has rung 0, this search gives it none");
  // Rungs that no search has: there is no number of epochs that belongs to them.
  const auto file = tuning.folder("halved") / "trials.jsonl";
  const std::string before = content_of(file);
  for (const std::string rung : {"-1", "-100", "2", "100"}) {
    std::string content = before;
    content.replace(content.find("\"rung\":0"), 8, "\"rung\":" + rung);
    std::ofstream(file) << content;
    refused("4", "has rung " + rung + ", this search gives it none");
  }
}

TEST_CASE("movielens tune: what cannot be is refused before anything is written",
          "[movielens][tune][error]") {
  const Tuning tuning;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& reason) {
    const Outcome outcome = tuning.tune("none", more);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
    CHECK_FALSE(std::filesystem::exists(tuning.folder("none")));
  };
  refused({"--experts", "4"}, "--experts is given, and ");
  refused({"--trials", "0"}, "--trials is 0, expected at least 1");
  refused({"--parallel", "-1"}, "--parallel is -1, expected at least 0");
  refused({"--parallel", "1025", "--trials", "2000"}, "--parallel is 1025, expected at most 1024");
  (void)tuning.directory.write("epochs.json", R"({"epochs": {"integer": [1, 4]}})");
  refused({"--space", (tuning.directory.path() / "epochs.json").string(), "--halving"},
          "--epochs is given, and ");
  refused({"--space", (tuning.directory.path() / "space.json").string(), "--k", "2"},
          "--k is given, and ");
  refused({"--space", "nowhere.json"}, "nowhere.json: cannot be opened");
  refused({"--data", "nowhere"}, "nowhere: cannot be opened");
}
