// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>

#include <programs/study/search_space.hpp>
#include <two_pictures/model/train_options.hpp>

#include <examples/two_pictures/run_program.hpp>
#include <support/catch.hpp>

using namespace programs::two_pictures::test;
using programs::test::remains_of;
using Json = nlohmann::json;

TEST_CASE("two_pictures train: the same bits for any number of threads", "[two_pictures]") {
  const SmallTraining training;
  for (const std::string gate : {"comet", "dense_per_task"}) {
    INFO(gate);
    for (const std::string threads : {"1", "2", "4"}) {
      const Outcome outcome =
          training.train(gate + threads, {"--gate=" + gate, "--threads=" + threads});
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      CHECK_THAT(outcome.out, ContainsSubstring("test accuracy") && ContainsSubstring(gate));
    }
    CHECK(remains_of(training.out(gate + "1")) == remains_of(training.out(gate + "2")));
    CHECK(remains_of(training.out(gate + "1")) == remains_of(training.out(gate + "4")));
  }
}

TEST_CASE("two_pictures train --resume: killed at any moment, it ends with the same bits",
          "[two_pictures]") {
  const SmallTraining training;
  int hits = 0;
  std::uint64_t draw = 0;
  const comet::RandomKey key(20);
  for (const std::string search : {"none", "relaxed", "swap"}) {
    const Arguments options = {"--local-search=" + search, "--checkpoint-every=2", "--epochs=6"};
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(training.train(search, options).code == 0);
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    Arguments again = options;
    again.push_back("--resume");
    const Arguments arguments = training.small("train", search + "-killed", again);
    for (int kill = 0; kill < 3; ++kill) {
      Child child(arguments, training.out("err"));
      std::this_thread::sleep_for(whole * key.uniform(draw++));
      if (child.end(SIGKILL) == -1) ++hits;
    }
    REQUIRE(Child(arguments, training.out("err")).wait() == 0);
    INFO(search);
    CHECK(remains_of(training.out(search + "-killed")) == remains_of(training.out(search)));
  }
  CHECK(hits >= 2);
}

TEST_CASE("two_pictures compare, report: a row each", "[two_pictures]") {
  const SmallTraining training;
  const Arguments arguments = training.small(
      "compare", "cmp", {"--gates=comet,top_k,hash,dense", "--seeds=1,2", "--epochs=1"});
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Json result = Json::parse(content_of(training.out("cmp") / "compare.json"));
  REQUIRE(result["rows"].size() == 4);
  for (const Json& row : result["rows"])
    for (const Json& run : row["runs"]) CHECK(run["test"]["accuracy"] > 0);
  const Outcome report = run_program({"report", training.out("cmp").string()});
  INFO(report.err);
  CHECK(report.code == 0);
  Arguments again = arguments;
  again.push_back("--resume");
  CHECK(run_program(again).out == outcome.out);
}

TEST_CASE("two_pictures: what a trained model says", "[two_pictures]") {
  const SmallTraining training;
  const std::string second = training.out("second").string();
  REQUIRE(run_program({"synthesize", second, "--pictures=100", "--test=40", "--seed=3"}).code == 0);
  const auto evaluated_as_tested = [&](const std::string& name, const Arguments& options,
                                       const Arguments& data) {
    INFO(name);
    const Outcome trained = training.train(name, options);
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    Arguments arguments = {"evaluate", "--model=" + training.model(name), "--json", "--threads=2"};
    arguments.insert(arguments.end(), data.begin(), data.end());
    const Outcome outcome = run_program(arguments);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Json json = Json::parse(outcome.out);
    CHECK(json["accuracy"] == training.result(name)["test"]["accuracy"]);
    CHECK(json["multiply_adds"] == training.result(name)["test"]["multiply_adds"]);
    return json;
  };
  const std::string data = "--data=" + training.data();
  const Json two = evaluated_as_tested("two", {}, {data});
  CHECK(two["tasks"].size() == 2);
  CHECK(two["tasks"][1]["confusion"].size() == 10);
  CHECK(evaluated_as_tested("hash", {"--gate=hash", "--partners=2"}, {data})["examples"] == 120);
  CHECK(
      evaluated_as_tested("one", {"--show=one", "--gate=balanced_top_k"}, {data})["tasks"].size() ==
      1);
  const Json mixed = evaluated_as_tested("mixed", {"--show=one", "--second-data=" + second},
                                         {data, "--second-data=" + second});
  CHECK(mixed["tasks"][0]["confusion"].size() == 20);

  const Outcome lines = run_program({"evaluate", "--model=" + training.model("two"), data});
  CHECK_THAT(lines.out,
             ContainsSubstring("class, taken for") && ContainsSubstring("class, weight by expert"));
  const Outcome shown = run_program({"show", "--model=" + training.model("two"), data,
                                     "--out=" + training.out("show").string(), "--count=5"});
  INFO(shown.err);
  REQUIRE(shown.code == 0);
  for (const char* const name : {"examples", "experts_by_class_1", "experts_by_class_2"})
    CHECK(std::filesystem::exists(training.out("show") / (std::string(name) + ".tsv")));

  // Names are text for gnuplot, never commands.
  const Outcome named = run_program(
      {"show", "--model=" + training.model("two"), data, "--out=" + training.out("named").string(),
       "--count=5", "--names=a`touch " + training.out("ran").string() + "`,b,c',d,e,f,g,h,i,j"});
  INFO(named.err);
  CHECK(named.code == 0);
  CHECK_FALSE(std::filesystem::exists(training.out("ran")));
  CHECK_THAT(content_of(training.out("named") / "examples.gp"), !ContainsSubstring("\"a`"));
}

TEST_CASE("two_pictures tune: the search spaces that come with it are right", "[two_pictures]") {
  using namespace programs::two_pictures;
  const auto root = std::filesystem::path(COMET_TEST_DATA).parent_path().parent_path();
  int spaces = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           root / "examples" / "two_pictures" / "search_spaces")) {
    if (entry.is_directory()) continue;
    TrainOptions options;
    const auto space = programs::SearchSpace::read(entry.path(), table_of(options));
    CHECK(space.contains("learning_rate"));
    ++spaces;
  }
  CHECK(spaces == 8);
}

TEST_CASE("two_pictures: bad input ends with 2 and one line", "[two_pictures][error]") {
  const SmallTraining training;
  const auto refused = programs::test::check_refused<Program>;
  const std::string out = "--out=" + training.out("refused").string();
  refused({"train", "--data=/nowhere", out}, "/nowhere: there is no such folder");
  refused({"train", "--data=" + training.data(), "--show=three", out}, "--show");
  refused({"train", "--data=" + training.data(), "--partners=1025", out},
          "--partners is 1025, expected from 1 to 1024");
  refused({"train", "--data=" + training.data(), "--kernel=20", out},
          "--kernel is 20, expected at most 11 for 36 x 36 pixels");
  refused({"train", "--data=" + training.data(), "--k=9", out}, "--k is 9");
  const auto images = std::filesystem::path(training.data()) / "train-images-idx3-ubyte";
  const std::string whole = content_of(images);
  std::ofstream(images, std::ios::binary) << whole.substr(0, whole.size() / 2);
  refused({"train", "--data=" + training.data(), out}, "is cut off");
  std::ofstream(images, std::ios::binary) << whole;
  CHECK_FALSE(std::filesystem::exists(training.out("refused")));

  REQUIRE(training.train("a").code == 0);
  const std::string model = "--model=" + training.model("a"), data = "--data=" + training.data();
  refused({"show", model, data, "--count=0", out}, "--count is 0, expected at least 1");
  refused({"show", model, data, "--count=61", out}, "--count is 61, expected at most 60, as many");
  for (const std::string command : {"show", "evaluate"})
    refused({command, model, data, "--threads=-1"}, "--threads is -1, expected from 0 to 1024");
  refused({"train", data, data, out}, "--data is given twice, expected once");
  refused({"evaluate", model, data, "--second-data=" + training.data()}, "is a model of 36 x 36");
  const std::string broken = training.out("broken").string();
  programs::test::check_cut_model_refused<Program>(training.model("a"), broken,
                                                   {"evaluate", "--model=" + broken, data});
  programs::test::check_nan_model_refused<Program>(training.model("a"), broken,
                                                   {"evaluate", "--model=" + broken, data});
  programs::test::write_changed_model(training.model("a"), broken, R"(\"partners\":1,)",
                                      R"(\"partners\":1000000000,)");
  refused({"evaluate", "--model=" + broken, data}, broken +
                                                       ": its description of the model is "
                                                       "damaged: --partners is 1000000000");
}

TEST_CASE("two_pictures train: kept out of a folder, or diverging, it leaves what is said",
          "[two_pictures][error]") {
  const SmallTraining training;
  programs::test::check_kept_out_and_diverging<Program>(
      training.out("a"), training.small("train", "a", {"--learning-rate=1e30"}));
}

TEST_CASE("two_pictures tune: what no trial can have is refused before anything is made",
          "[two_pictures][error]") {
  const SmallTraining training;
  const std::string space = training.out("space.json").string();
  std::ofstream(space) << R"({"kernel": {"categorical": [5, 20]}})";
  Arguments arguments = training.small(
      "tune", "", {"--space=" + space, "--trials=9", "--results=" + training.out("r").string()});
  std::erase_if(arguments, [](const std::string& argument) {
    return argument.starts_with("--out") || argument == "--quiet";
  });
  programs::test::check_refused<Program>(arguments, "--kernel is 20, expected at most 11");
  CHECK_FALSE(std::filesystem::exists(training.out("r")));
}

TEST_CASE("two_pictures synthesize: made-up pictures replace nothing", "[two_pictures][error]") {
  const programs::test::TemporaryDirectory directory;
  const auto refused_beside = [&](const std::string& name) {
    INFO(name);
    const std::filesystem::path folder = directory.path() / name / "data";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / name) << "kept";
    programs::test::check_refused<Program>(
        {"synthesize", folder.string(), "--pictures=20", "--test=20"},
        (folder / name).string() + ": exists already and is not replaced");
    CHECK(programs::test::content_of(folder / name) == "kept");
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  };
  for (const char* const name :
       {"SOURCE", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "t10k-images.idx3-ubyte.gz"})
    refused_beside(name);
}

TEST_CASE("two_pictures: made-up pictures are said to be, and others than the training's",
          "[two_pictures]") {
  const SmallTraining training;
  const std::string data = training.out("synthetic").string();
  REQUIRE(run_program({"synthesize", data, "--pictures=100", "--test=40"}).code == 0);
  const Outcome trained = training.train("a", {"--data=" + data});
  CHECK_THAT(trained.out, StartsWith("data: synthetic, NOT MNIST: 100 and 40 digits"));
  CHECK_THAT(training.result("a")["source"].get<std::string>(), StartsWith("synthetic, NOT MNIST"));
  const auto evaluate = [&](const std::string& pictures) {
    return run_program(
        {"evaluate", "--model=" + training.model("a"), "--data=" + pictures, "--json"});
  };
  const Outcome same = evaluate(data), other = evaluate(training.data());
  CHECK(same.err.empty());
  CHECK(Json::parse(same.out)["is_of_training"] == true);
  CHECK_THAT(other.err, StartsWith("note: made up is not what the model was trained on"));
  CHECK(Json::parse(other.out)["is_of_training"] == false);
}
