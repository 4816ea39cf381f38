// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <movielens/data/ratings.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using Json = nlohmann::json;
using programs::movielens::test::lines_in;
using programs::movielens::test::Outcome;
using programs::movielens::test::run_program;

namespace {

/// A small set and a small model: a training takes some hundredths of a second.
class Training {
 public:
  Training() {
    REQUIRE(
        run_program({"synthesize", data(), "--users", "30", "--items", "40", "--ratings", "400"})
            .code == 0);
  }

  [[nodiscard]] std::string data() const { return (directory_.path() / "data").string(); }
  [[nodiscard]] std::filesystem::path out(const std::string& name = "out") const {
    return directory_.path() / name;
  }
  [[nodiscard]] const TemporaryDirectory& directory() const { return directory_; }

  [[nodiscard]] Outcome train(const std::vector<std::string>& more, const std::string& name = "out",
                              bool terminal = false) const {
    std::vector<std::string> arguments = {"train",
                                          "--data",
                                          data(),
                                          "--out",
                                          out(name).string(),
                                          "--embedding-dim",
                                          "4",
                                          "--experts",
                                          "5",
                                          "--expert-dim",
                                          "6",
                                          "--head-dim",
                                          "6",
                                          "--epochs",
                                          "3",
                                          "--batch-size",
                                          "64",
                                          "--learning-rate",
                                          "0.01"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(programs::test::last_of_each(arguments), terminal);
  }

 private:
  TemporaryDirectory directory_;
};

std::vector<Json> lines_of(const std::filesystem::path& file) {
  std::istringstream lines(content_of(file));
  std::vector<Json> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(Json::parse(line));
  return objects;
}

std::vector<Json> epochs_in(const std::filesystem::path& directory) {
  return lines_of(directory / "metrics.jsonl");
}

std::vector<Json> without_times(std::vector<Json> epochs) {
  for (Json& epoch : epochs) epoch.erase("seconds");
  return epochs;
}

}  // namespace

TEST_CASE("movielens train: writes metrics, result and table", "[movielens][program]") {
  const Training training;
  for (const std::string gate : {"comet", "top_k"}) {
    const Outcome outcome = training.train({"--gate", gate}, gate);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(lines_in(outcome.out) == 3);
    CHECK_THAT(outcome.out, StartsWith("data: synthetic, NOT MovieLens: 30 users") &&
                                ContainsSubstring("\n" + gate));
    const std::size_t notes = outcome.err.find("\nnote: ") == std::string::npos ? 0 : 1;
    CHECK(lines_in(outcome.err) == 2 + 3 + notes);  // data, gate, epochs
    CHECK_THAT(outcome.err, ContainsSubstring("synthetic, NOT MovieLens: 30 users"));
    for (const char c : outcome.err) CHECK((c == '\n' || c >= ' '));

    const std::vector<Json> epochs = epochs_in(training.out(gate));
    REQUIRE(epochs.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const Json& epoch = epochs[i];
      CHECK(epoch.at("epoch") == i + 1);
      CHECK(epoch.at("training").at("loss") > 0);
      CHECK(epoch.at("seconds") > 0);
      const Json& validation = epoch.at("validation");
      CHECK(validation.at("loss").get<double>() ==
            Approx(0.5 * validation.at("bce").get<double>() +
                   0.5 * validation.at("mse").get<double>()));
      const double experts = validation.at("experts_per_sample");
      CHECK(experts >= 1);
      CHECK(experts <= 5);
      if (gate == "top_k") CHECK(experts == 2);
      // The load adds up to the number of experts per sample, task by task.
      double load = 0;
      for (const Json& task : validation.at("load_per_expert")) {
        REQUIRE(task.size() == 5);
        for (const double share : task) load += share;
      }
      CHECK(load / 2 == Approx(experts));
      // No search, no permutation but the identity.
      CHECK(epoch.at("permutations") == Json::parse("[[[0,1,2,3,4]],[[0,1,2,3,4]]]"));
    }
    // 9 batches of up to 64 in three epochs, every tenth from the first on.
    const std::vector<Json> steps = lines_of(training.out(gate) / "steps.jsonl");
    REQUIRE(steps.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(steps[i].at("step") == 10 * i + 1);
      CHECK(steps[i].at("loss") > 0);
      CHECK(steps[i].at("experts_per_sample") >= 1);
    }
    CHECK(steps[0].at("experts_per_sample") == (gate == "comet" ? 5 : 2));
    CHECK(epochs[2].at("training").at("loss") < epochs[0].at("training").at("loss"));

    const Json result = Json::parse(content_of(training.out(gate) / "result.json"));
    CHECK(result.at("source").get<std::string>().starts_with("synthetic, NOT MovieLens"));
    CHECK(result.at("ratings") == 400);
    CHECK(result.at("users") == 30);
    CHECK(result.at("items") == 40);
    CHECK(result.at("options").at("gate") == gate);
    CHECK(result.at("options").at("seed") == 1);
    CHECK(result.at("epochs") == 3);
    CHECK(result.at("test").at("mse") > 0);
    // The model that was kept says again what was said of its epoch.
    const Outcome evaluated = run_program(
        {"evaluate", "--model", (training.out(gate) / "model.safetensors").string(), "--data",
         training.data(), "--split", "validation", "--threads", "1", "--json"});
    INFO(evaluated.err);
    REQUIRE(evaluated.code == 0);
    const Json& best = epochs.at(result.at("best_epoch").get<std::size_t>() - 1).at("validation");
    for (const char* const figure : {"auc", "bce", "mse"})
      CHECK(Json::parse(evaluated.out).at(figure).get<double>() ==
            Approx(best.at(figure).get<double>()));
    // user and item embeddings, experts, heads, gates
    const int gates = gate == "comet" ? 2 * 2 * (4 + 5) * 9 : 2 * 5 * 9;
    CHECK(result.at("parameters") == 70 * 4 + 5 * 9 * 6 + 2 * (7 * 6 + 7) + gates);
    CHECK(std::distance(std::filesystem::directory_iterator(training.out(gate)), {}) == 5);
  }
}

TEST_CASE("movielens train: the best weights are those tested", "[movielens][program]") {
  const Training training;
  // A rate that overshoots: later epochs are worse than the first ones.
  REQUIRE(training.train({"--epochs", "8", "--learning-rate", "0.05"}, "long").code == 0);
  const std::vector<Json> epochs = epochs_in(training.out("long"));
  const Json result = Json::parse(content_of(training.out("long") / "result.json"));
  std::size_t best = 0;
  for (std::size_t i = 0; i < epochs.size(); ++i)
    if (epochs[i].at("validation").at("loss") < epochs[best].at("validation").at("loss")) best = i;
  CHECK(result.at("best_epoch") == best + 1);
  REQUIRE(best + 1 < epochs.size());
  // Stopping there gives the same weights, so the same test figures.
  REQUIRE(training.train({"--epochs", std::to_string(best + 1), "--learning-rate", "0.05"}, "short")
              .code == 0);
  const Json shorter = Json::parse(content_of(training.out("short") / "result.json"));
  CHECK(shorter.at("test") == result.at("test"));

  REQUIRE(training.train({"--epochs", "50", "--learning-rate", "0.05", "--patience", "2"}, "early")
              .code == 0);
  const Json early = Json::parse(content_of(training.out("early") / "result.json"));
  CHECK(early.at("epochs") == early.at("best_epoch").get<int>() + 2);
}

TEST_CASE("movielens train: same seed, same figures, whatever the threads",
          "[movielens][program][law]") {
  const Training training;
  for (const std::string gate : {"comet", "top_k"}) {
    const std::vector<std::string> options = {"--gate",       gate, "--embedding-dim", "32",
                                              "--expert-dim", "64", "--batch-size",    "256"};
    const auto train = [&](const std::string& name, const std::string& threads,
                           const std::string& seed) {
      auto more = options;
      more.insert(more.end(), {"--threads", threads, "--seed", seed});
      REQUIRE(training.train(more, name).code == 0);
      return without_times(epochs_in(training.out(name)));
    };
    const auto one = train("one", "1", "7");
    CHECK(one == train("again", "1", "7"));
    CHECK(one == train("two", "2", "7"));
    CHECK(one == train("three", "3", "7"));
    CHECK(one != train("other", "1", "8"));
  }
}

TEST_CASE("movielens train: quiet, or lines updated on a terminal", "[movielens][program]") {
  const Training training;
  CHECK(training.train({"--quiet"}).err.empty());
  const Outcome outcome = training.train({}, "out", true);
  CHECK_THAT(outcome.err, ContainsSubstring("\repoch 1/3  batch 1/"));
  CHECK_THAT(outcome.out, !ContainsSubstring("\r"));
}

TEST_CASE("movielens: whole numbers are decimal, whatever they begin with",
          "[movielens][program]") {
  const Training training;
  const auto options = [&](const std::string& name) {
    return Json::parse(content_of(training.out(name) / "result.json")).at("options");
  };
  REQUIRE(training.train({"--seed", "010", "--epochs", "02", "--experts", "0008"}, "a").code == 0);
  CHECK(options("a").at("seed") == 10);
  CHECK(options("a").at("epochs") == 2);
  CHECK(options("a").at("experts") == 8);
  REQUIRE(training.train({"--seed", "08", "--split-seed", "+00"}, "b").code == 0);
  CHECK(options("b").at("seed") == 8);
  CHECK(options("b").at("split_seed") == 0);
  const auto refused = programs::test::check_refused<programs::movielens::test::Program>;
  refused({"train", "--data=a", "--seed=-01"}, "--seed is -1, expected");
  refused({"train", "--data=a", "--seed=1e3"}, "--seed is \"1e3\", expected a whole number");
  refused({"compare", "--data=a", "--seeds=010,10"}, "--seeds names 10 twice");
  refused({"recommend", "--model=a", "--data=a", "--user=1", "--top=-010"}, "--top is -10");
}

TEST_CASE("movielens: an option that no training heeds is noted", "[movielens][program]") {
  const Training training;
  const auto notes = [&](const std::vector<std::string>& more) {
    const Outcome outcome = training.train(more);
    CHECK(outcome.code == 0);
    return outcome.err;
  };
  CHECK_THAT(notes({"--gate", "top_k", "--gamma", "3"}),
             StartsWith("note: nothing that is trained heeds --gamma: it is width of the "
                        "smooth step of comet, "));
  CHECK_THAT(notes({"--gate", "hash", "--k", "3"}),
             StartsWith("note: ") && ContainsSubstring(" heeds --k: "));
  CHECK_THAT(notes({"--search-epochs", "1"}), ContainsSubstring(" heeds --search-epochs: "));
  CHECK_THAT(notes({"--record-every", "3"}), ContainsSubstring(" heeds --record-every: "));
  // As it is by default, heeded, or unasked for.
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--gate", "hash", "--k", "2"},
        {"--gamma", "3"},
        {"--gate", "top_k", "--gamma", "3", "--quiet"}})
    CHECK_THAT(notes(more), !ContainsSubstring("heeds"));

  const auto compared = [&](const std::string& gates) {
    const Outcome outcome = run_program(
        {"compare", "--data", training.data(), "--out", training.out("all").string(), "--gates",
         gates, "--gamma", "3", "--epochs", "1", "--experts", "4", "--expert-dim", "4"});
    CHECK(outcome.code == 0);
    return outcome.err;
  };
  CHECK_THAT(compared("top_k,hash"), ContainsSubstring(" heeds --gamma: "));
  CHECK_THAT(compared("top_k,comet"), !ContainsSubstring("heeds"));
}

TEST_CASE("movielens: bad options end with 2 and one line", "[movielens][program][error]") {
  const Training training;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& reason) {
    const Outcome outcome = training.train(more);
    CHECK(outcome.code == 2);
    CHECK(outcome.err == "movielens: " + reason + "\n");
    CHECK(outcome.out.empty());
    CHECK(!std::filesystem::exists(training.out()));
  };
  refused({"--k", "6"}, "--k is 6, expected from 1 to --experts = 5");
  refused({"--k", "0"}, "--k is 0, expected from 1 to --experts = 5");
  refused({"--k", "-2"}, "--k is -2, expected from 1 to --experts = 5");
  refused({"--experts", "-1"}, "--experts is -1, expected from 1 to 1048576");
  refused({"--batch-size", "-8"}, "--batch-size is -8, expected from 1 to 1048576");
  refused({"--embedding-dim", "0"}, "--embedding-dim is 0, expected from 1 to 1048576");
  refused({"--epochs", "0"}, "--epochs is 0, expected from 1 to 1048576");
  refused({"--gamma", "nan"}, "--gamma is nan, expected a number > 0");
  refused({"--learning-rate", "inf"}, "--learning-rate is inf, expected a number > 0");
  refused({"--dropout", "1"}, "--dropout is 1, expected in [0, 1)");
  refused({"--entropy", "-1"}, "--entropy is -1, expected a number >= 0");
  refused({"--task-weights", "1,-1"}, "--task-weights is -1, expected a number >= 0");
  refused({"--task-weights", "0,0"}, "--task-weights is 0,0, expected at least one of them > 0");
  refused({"--threads", "-1"}, "--threads is -1, expected from 0 to 1024");
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--gate", "mixtral"},
                                               {"--k", "two"},
                                               {"--seed", "-1"},
                                               {"--task-weights", "1"},
                                               {"--unknown", "1"}}) {
    const Outcome outcome = training.train(more);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK(!std::filesystem::exists(training.out()));
  }
  CHECK(run_program({}).code == 2);
  CHECK(run_program({"train"}).code == 2);
  using programs::movielens::test::Program;
  const auto refused_of_two = programs::test::check_refused<Program>;
  refused_of_two({"evaluate", "--model=x", "--data=x", "--threads=-1"},
                 "--threads is -1, expected from 0 to 1024");
  refused_of_two({"train", "--data=nowhere", "--data=" + training.data()}, "--data is given twice");
  refused_of_two({"train", "--data=a", "--k=1", "--k", "2", "--k=3"}, "--k is given 3 times");
  refused_of_two({"train", "--data=a", "--task-weights=1,1", "--task-weights=1,2"},
                 "--task-weights has 4 values, expected 2");
  CHECK(run_program({"fly"}).code == 2);
}

TEST_CASE("movielens: bad data end with 2, one line and no output", "[movielens][program][error]") {
  const Training training;
  const auto refused = [&](const std::filesystem::path& data, const std::string& reason) {
    const Outcome outcome = training.train({"--data", data.string()});
    CHECK(outcome.code == 2);
    CHECK(outcome.err == "movielens: " + data.string() + reason + "\n");
    CHECK(!std::filesystem::exists(training.out()));
  };
  const TemporaryDirectory& directory = training.directory();
  refused(directory.path() / "none", ": cannot be opened: No such file or directory");
  // A pipe that is named is read; one that lies in a folder would be waited for.
  std::filesystem::create_directory(directory.path() / "pipes");
  REQUIRE(::mkfifo((directory.path() / "pipes" / "ratings.csv").c_str(), 0600) == 0);
  const Outcome pipe = training.train({"--data", (directory.path() / "pipes").string()});
  CHECK(pipe.code == 2);
  CHECK(pipe.err == "movielens: " + (directory.path() / "pipes" / "ratings.csv").string() +
                        ": is not a regular file\n");
  refused(directory.write("ratings", ""), ": no ratings in it");
  refused(directory.write("ratings", "1,1,3,0\n1,2,x,0\n"),
          ":2: the rating is \"x\", expected a number from 0.5 to 5");
  refused(directory.write("ratings", "1,1,3,0\n1,2,3,0\n"),
          ": one user only, at least 2 are needed");
  refused(directory.write("ratings", "1,1,3,0\n2,2,3,0\n"),
          ": 2 ratings and 2 unrated pairs are too few to split into train, validation and test");
}

TEST_CASE("movielens train: kept out of a folder, or diverging, it leaves what is said",
          "[movielens][program][error]") {
  const programs::movielens::test::SmallTraining training;
  programs::test::check_kept_out_and_diverging<programs::movielens::test::Program>(
      training.out("a"), training.arguments("a", {"--learning-rate=1e30"}));
}

TEST_CASE("movielens: an OUT that cannot be written", "[movielens][program][error]") {
  const Training training;
  (void)training.directory().write("file", "kept");
  for (const std::string name : {"file", "file/below"}) {
    const Outcome outcome = training.train({}, name);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, StartsWith("movielens: " + training.out(name).string()));
  }
  CHECK(content_of(training.directory().path() / "file") == "kept");
}

TEST_CASE("movielens: a name that no system takes ends with 2 and one line",
          "[movielens][program][error]") {
  const Training training;
  const std::string name(300, 'x');
  const std::string space = training.directory().write("space.json", "{}").string();
  const std::string results = training.out().string();
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"train", "--data=" + name},
           {"train", "--data=" + training.data(), "--out=" + name},
           {"train", "--data=" + training.data(), "--out=" + results, "--from-pretrained=" + name},
           {"train", "--data=" + training.data(), "--out=" + results, "--record=" + name},
           {"compare", "--data=" + training.data(), "--out=" + name},
           {"tune", "--data=" + training.data(), "--space=" + name},
           {"tune", "--data=" + training.data(), "--space=" + space, "--results=" + results,
            "--experiment-name=" + name},
           {"evaluate", "--data=" + training.data(), "--model=" + name},
           {"report", name},
           {"budget", name},
           {"synthesize", name, "--users=5", "--items=5", "--ratings=10"}}) {
    INFO(arguments.front() + " " + arguments.back());
    programs::test::check_refused<programs::movielens::test::Program>(arguments, name);
  }
}

TEST_CASE("movielens synthesize: says what it made, once", "[movielens][program]") {
  const Training training;
  CHECK(programs::movielens::read_ratings(training.data()).size() == 400);
  const Outcome again = run_program({"synthesize", training.data()});
  CHECK(again.code == 2);
  CHECK(again.err ==
        "movielens: " + training.data() + "/ratings.csv: exists already and is not replaced\n");
  const Outcome impossible =
      run_program({"synthesize", training.out("new").string(), "--ratings", "1000000000"});
  CHECK(impossible.code == 2);
  CHECK(lines_in(impossible.err) == 1);
  CHECK(!std::filesystem::exists(training.out("new")));
}

TEST_CASE("movielens --help: on standard output, with success", "[movielens][program]") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"train", "--help"}, {"synthesize", "--help"}}) {
    const Outcome outcome = run_program(arguments);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    CHECK(lines_in(outcome.out) > 5);
  }
  CHECK_THAT(run_program({"train", "--help"}).out,
             ContainsSubstring("--entropy") && ContainsSubstring("negatives"));
}

TEST_CASE("movielens compare: every gate with every search in one table", "[movielens][program]") {
  const Training training;
  const std::vector<std::string> arguments = {"compare",
                                              "--data",
                                              training.data(),
                                              "--out",
                                              training.out().string(),
                                              "--gates",
                                              "comet,dselect_k,top_k,hash,softmax",
                                              "--local-searches",
                                              "none,relaxed,swap",
                                              "--search-epochs",
                                              "1",
                                              "--seeds",
                                              "1,2",
                                              "--embedding-dim",
                                              "4",
                                              "--experts",
                                              "5",
                                              "--expert-dim",
                                              "6",
                                              "--head-dim",
                                              "6",
                                              "--epochs",
                                              "2",
                                              "--batch-size",
                                              "64",
                                              "--quiet"};
  const Outcome first = run_program(arguments);
  INFO(first.err);
  REQUIRE(first.code == 0);
  CHECK(first.err.empty());
  CHECK(lines_in(first.out) == 2 + 5 * 3);
  CHECK_THAT(first.out,
             ContainsSubstring("synthetic, NOT MovieLens") && ContainsSubstring("seeds: 1 2"));

  const Json table = Json::parse(content_of(training.out() / "compare.json"));
  REQUIRE(table.at("rows").size() == 15);
  for (const Json& row : table.at("rows")) {
    REQUIRE(row.at("runs").size() == 2);
    // Seeds are different runs, and the table's figures are those of result.json.
    CHECK(row.at("runs")[0].at("test") != row.at("runs")[1].at("test"));
    const std::string directory = row.at("gate").get<std::string>() + "-" +
                                  row.at("local_search").get<std::string>() + "-seed2";
    const Json result = Json::parse(content_of(training.out() / directory / "result.json"));
    CHECK(result.at("test") == row.at("runs")[1].at("test"));
    // Of a gate's experts at most k are live for top_k, one for hash, all for softmax.
    const double experts = result.at("test").at("experts_per_sample");
    if (row.at("gate") == "top_k") CHECK(experts == Approx(2));
    if (row.at("gate") == "hash") CHECK(experts == Approx(1));
    if (row.at("gate") == "softmax") CHECK(experts == Approx(5));
  }
  CHECK(lines_in(content_of(training.out() / "compare.md")) == 2 + 2 + 15);
  CHECK_THAT(content_of(training.out() / "compare.md"),
             StartsWith("data: synthetic, NOT MovieLens"));
  {
    const auto held = programs::FileLock::try_for(training.out() / "lock");
    const Outcome second = run_program(arguments);
    CHECK(second.code == 2);
    CHECK(second.err == "movielens: " + training.out().string() +
                            ": another comparison is under way in it; give each an --out of its "
                            "own\n");
  }

  // Nothing is trained again: times would differ.
  std::vector<std::string> again = arguments;
  again.push_back("--resume");
  const std::string before = content_of(training.out() / "comet-none-seed1" / "result.json");
  for (const char* const name : {"compare.md.tmp.1", "compare.json.tmp.2", "mine.tmp.1"})
    (void)training.directory().write(std::string("out/") + name, "half");
  REQUIRE(run_program(again).code == 0);
  // What a crash left of the tables is gone, and nothing else.
  CHECK_FALSE(std::filesystem::exists(training.out() / "compare.md.tmp.1"));
  CHECK_FALSE(std::filesystem::exists(training.out() / "compare.json.tmp.2"));
  CHECK(std::filesystem::exists(training.out() / "mine.tmp.1"));
  CHECK(content_of(training.out() / "comet-none-seed1" / "result.json") == before);
  CHECK(Json::parse(content_of(training.out() / "compare.json")) == table);
}

TEST_CASE("movielens compare: refuses what does not exist before it reads anything",
          "[movielens][program]") {
  const Training training;
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"--gates", "comet,nearest"},
        std::vector<std::string>{"--local-searches", "genetic"},
        std::vector<std::string>{"--gates", "comet,top_k,comet"},
        std::vector<std::string>{"--local-searches", "none,none"},
        std::vector<std::string>{"--seeds", "1,2,1"}, std::vector<std::string>{"--seeds", "1,-2"},
        std::vector<std::string>{"--search-temperatures", "1e-7,1e-3"}}) {
    std::vector<std::string> arguments = {"compare", "--data", "missing", "--out",
                                          training.out().string()};
    arguments.insert(arguments.end(), wrong.begin(), wrong.end());
    const Outcome outcome = run_program(arguments);
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, !ContainsSubstring("missing") && ContainsSubstring(wrong.front()));
    CHECK_FALSE(std::filesystem::exists(training.out()));
  }
}

TEST_CASE("movielens compare: dense networks and biases stand beside the gates",
          "[movielens][program]") {
  const Training training;
  const Outcome outcome = run_program({"compare",
                                       "--data",
                                       training.data(),
                                       "--out",
                                       training.out().string(),
                                       "--gates",
                                       "top_k,dense,dense_per_task,biases",
                                       "--local-searches",
                                       "none,swap",
                                       "--search-epochs",
                                       "1",
                                       "--embedding-dim",
                                       "4",
                                       "--experts",
                                       "5",
                                       "--expert-dim",
                                       "6",
                                       "--head-dim",
                                       "6",
                                       "--epochs",
                                       "1",
                                       "--batch-size",
                                       "64",
                                       "--quiet"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Json rows = Json::parse(content_of(training.out() / "compare.json")).at("rows");
  std::vector<std::string> names;
  for (const Json& row : rows)
    names.push_back(row.at("gate").get<std::string>() + " " +
                    row.at("local_search").get<std::string>());
  CHECK(names == std::vector<std::string>{"top_k none", "top_k swap", "dense none",
                                          "dense_per_task none", "biases none"});
  for (const std::size_t twin : {std::size_t(2), std::size_t(3)})
    CHECK(rows[twin].at("runs")[0].at("test").at("experts_per_sample") == 2);
  CHECK(rows[4].at("runs")[0].at("test").at("mse") > 0);
  CHECK_FALSE(std::filesystem::exists(training.out() / "biases-none-seed1"));
}
