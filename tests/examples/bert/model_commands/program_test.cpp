// SPDX-License-Identifier: MIT
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <bert/model/train_options.hpp>
#include <examples/bert/small_study.hpp>
#include <programs/study/search_space.hpp>
#include <support/catch.hpp>

using namespace programs::bert::test;

TEST_CASE("bert: a teacher and its students, whole and resumed to the same bits", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  for (const Arguments& options :
       {Arguments{"--gate=comet", "--spread=.1"}, Arguments{"--gate=balanced_top_k"},
        Arguments{"--gate=hash"}, Arguments{"--gate=dense_half"},
        Arguments{"--gate=balanced_top_k", "--route-by=sentence"},
        Arguments{"--gate=comet", "--route-by=sentence"},
        Arguments{"--gate=comet", "--local-search=relaxed"}}) {
    INFO(options.front() << ' ' << options.back());
    REQUIRE(study.train("distil", "whole", options) == 0);
    const Json test = study.result("whole")["test"];
    CHECK(test["hidden_error"] > 0);
    Arguments again = options;
    again.insert(again.end(), {"--checkpoint-every=5", "--resume"});
    std::filesystem::remove_all(study.out("ended"));
    // An orderly end leaves a checkpoint and a status of its own; then it goes on.
    Arguments part = options;
    part.insert(part.end(), {"--checkpoint-every=5"});
    {
      Child child(study.small("distil", "ended", part), study.out("err"));
      const auto checkpoint = study.out("ended") / "checkpoint.safetensors";
      for (int wait = 0; wait < 20000 && !std::filesystem::exists(checkpoint); ++wait)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      CHECK(std::filesystem::exists(checkpoint));
      (void)child.end(SIGKILL);
    }
    REQUIRE(study.train("distil", "ended", again) == 0);
    CHECK(study.remains("ended") == study.remains("whole"));

    // What evaluate says of the file is what the training said.
    const Arguments evaluate = {"evaluate",
                                "--model=" + study.model("whole"),
                                "--data=" + study.out("glue").string(),
                                "--pretrained=" + study.out("model").string(),
                                "--teacher=" + study.model("teacher"),
                                "--batch-size=8",
                                "--json"};
    const Outcome outcome = run_program(evaluate);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const Json said = Json::parse(outcome.out);
    for (const char* figure :
         {"loss", "hidden_error", "divergence", "matthews", "multiply_adds", "effective_experts"})
      CHECK(said[figure] == test[figure]);
  }
}

TEST_CASE("bert: the same bits for any number of threads", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("distil", "one") == 0);
  REQUIRE(study.train("distil", "two", {"--threads=2"}) == 0);
  CHECK(study.remains("one") == study.remains("two"));
  CHECK(study.result("one")["training rows"] == 90);
  REQUIRE(study.train("distil", "some", {"--train-rows=16"}) == 0);
  CHECK(study.result("some")["training rows"] == 16);
}

TEST_CASE("bert moefy: what distil starts from", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  Arguments moefy = study.small("moefy", "student.safetensors", {});
  std::erase_if(moefy, [](const std::string& argument) {
    return argument == "--quiet" || argument == "--epochs=2";
  });
  REQUIRE(Child(moefy, study.out("err")).wait() == 0);
  REQUIRE(study.train("distil", "a") == 0);
  REQUIRE(study.train("distil", "b",
                      {"--from-pretrained=" + study.out("student.safetensors").string()}) == 0);
  CHECK(content_of(study.out("a") / "steps.jsonl") == content_of(study.out("b") / "steps.jsonl"));
}

TEST_CASE("bert compare: rows, variants and the teacher", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("compare", "table",
                      {"--gates=teacher,dense,dense_one,dense_7,top_k,comet_spread,comet_search",
                       "--seeds=1,2"}) == 0);
  const std::string table = content_of(study.out("table") / "compare.md");
  for (const char* row :
       {"teacher", "dense", "dense_one", "dense_7", "top_k", "comet_spread", "comet_search"})
    CHECK_THAT(table, ContainsSubstring("| " + std::string(row) + ' '));
  const auto run = [&](const std::string& name) {
    return Json::parse(content_of(study.out("table") / name / "result.json"));
  };
  const Json spread = run("comet_spread-none-seed1").at("options");
  CHECK(spread.at("gate") == "comet");
  CHECK(spread.at("spread") == .1);
  CHECK(run("comet_search-relaxed-seed2").at("options").at("local_search") == "relaxed");

  // 12 features: 4 x 12 x 12 of attention and 2 x 12 a unit, two layers.
  CHECK(run("dense_one-none-seed1").at("test").at("multiply_adds") == 2 * (576 + 6 * 24));
  CHECK(run("dense_7-none-seed1").at("test").at("multiply_adds") == 2 * (576 + 7 * 24));
  const Json dense = run("dense-none-seed1"), teacher = study.result("teacher");
  CHECK(dense.at("test").at("multiply_adds") == 2 * (576 + 16 * 24));
  CHECK(dense.at("parameters") == teacher.at("parameters"));
  CHECK(dense.at("epochs") == run("top_k-none-seed1").at("epochs"));
  CHECK(dense.at("test").at("trained_tokens_per_second") > 0);
}

TEST_CASE("bert compare: dense rows of the cost that mixtures have", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("compare", "table", {"--gates=hash,top_k,comet", "--gamma=.01", "--twins"}) ==
          0);
  const auto run = [&](const std::string& name) {
    return Json::parse(content_of(study.out("table") / (name + "-none-seed1") / "result.json"));
  };
  CHECK(run("hash_twin").at("options").at("units") == 6);
  // Its gate costs 4 x 12, as much as 2 units.
  CHECK(run("top_k_twin").at("options").at("units") == 8);
  CHECK(run("top_k_twin").at("test").at("multiply_adds") ==
        run("top_k").at("test").at("multiply_adds"));
  const double comet = run("comet").at("test").at("multiply_adds");
  const double twin = run("comet_twin").at("test").at("multiply_adds");
  CHECK(run("comet_twin").at("options").at("gate") == "dense_wide");
  CHECK(std::abs(comet - twin) <= 24);  // half a unit in two layers
  const std::string table = content_of(study.out("table") / "compare.md");
  CHECK(table.find("comet_twin") > table.find("| comet "));

  // A run that is there is not done again, and another width is another run.
  const auto at = [&](const char* name) {
    return std::filesystem::last_write_time(study.out("table") / name / "result.json");
  };
  const auto before = at("comet_twin-none-seed1");
  REQUIRE(study.train("compare", "table",
                      {"--gates=hash,top_k,comet", "--gamma=.01", "--twins", "--resume"}) == 0);
  CHECK(at("comet_twin-none-seed1") == before);
  CHECK(content_of(study.out("table") / "compare.md") == table);
}

TEST_CASE("bert compare: gates by sentence", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("compare", "table", {"--gates=top_k,top_k_sentence"}) == 0);
  REQUIRE(study.train("compare", "all", {"--gates=hash,top_k", "--route-by=sentence"}) == 0);
  const auto run = [&](const std::string& name) {
    return Json::parse(content_of(study.out(name) / "result.json"));
  };
  const Json by_token = run("table/top_k-none-seed1"),
             by_name = run("table/top_k_sentence-none-seed1");
  CHECK_FALSE(by_token.at("options").contains("route_by"));
  CHECK(by_name.at("options").at("route_by") == "sentence");
  CHECK(by_name.at("test").at("loss") != by_token.at("test").at("loss"));
  // The gate is asked less often.
  CHECK(by_name.at("test").at("multiply_adds") < by_token.at("test").at("multiply_adds"));
  CHECK(by_name.at("test").at("multiply_adds") > 2 * (576 + 6 * 24));
  CHECK(run("all/top_k-none-seed1").at("test").at("loss") == by_name.at("test").at("loss"));
  CHECK_FALSE(run("all/hash-none-seed1").at("options").contains("route_by"));
  CHECK_THAT(content_of(study.out("all") / "compare.md"),
             ContainsSubstring(", gates by sentence, "));
  check_refused(study.small("compare", "table", {"--gates=hash_sentence"}), "hash_sentence");

  // What was trained by sentence is not gone on with by token, nor the other way round.
  const std::string folder = "table/top_k_sentence-none-seed1";
  check_refused(study.small("distil", folder, {"--gate=top_k", "--resume"}),
                "route_by: \"sentence\" there, none here");
  check_refused(study.small("distil", "table/top_k-none-seed1",
                            {"--gate=top_k", "--route-by=sentence", "--resume"}),
                "route_by: none there, \"sentence\" here");
}

TEST_CASE("bert compare: a teacher for each seed", "[bert]") {
  const SmallStudy study;
  for (const std::string seed : {"1", "2"})
    REQUIRE(study.train("finetune", "teacher" + seed, {"--seed=" + seed}) == 0);
  REQUIRE(study.train("compare", "table",
                      {"--gates=teacher,dense_one", "--seeds=1,2",
                       "--teacher=" + study.model("teacher{seed}")}) == 0);
  const Json rows = Json::parse(content_of(study.out("table") / "compare.json")).at("rows");
  for (const int seed : {1, 2})
    CHECK(rows[0]["runs"][std::size_t(seed - 1)]["test"]["loss"] ==
          study.result("teacher" + std::to_string(seed))["test"]["loss"]);
  check_refused(
      study.small("compare", "other",
                  {"--gates=dense_one", "--seeds=3", "--teacher=" + study.model("teacher{seed}")}),
      study.model("teacher3") + ": cannot be read");
}

TEST_CASE("bert tune: the search space that comes with it is right", "[bert]") {
  const auto root = std::filesystem::path(COMET_TEST_DATA).parent_path().parent_path();
  programs::bert::DistilOptions options;
  const auto space = programs::SearchSpace::read(
      root / "examples" / "bert" / "search_spaces" / "comet.json", table_of(options));
  CHECK(space.json()["gate"] == "comet");
  CHECK(space.contains("lambda"));
}

TEST_CASE("bert tune: trials, and reports of them, of a comparison and of a training", "[bert]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  std::ofstream(study.out("space.json"))
      << R"({"gate": "comet", "gamma": {"categorical": [0.1, 1]}, "units": 7,
             "learning_rate": {"log_uniform": [1e-4, 1e-3]}, "route_by": "sentence"})";
  Arguments tune = study.small("tune", "unused",
                               {"--space=" + study.out("space.json").string(), "--trials=2",
                                "--parallel=2", "--results=" + study.out("results").string()});
  std::erase_if(tune, [](const std::string& argument) { return argument.starts_with("--out="); });
  REQUIRE(Child(tune, study.out("err")).wait() == 0);
  const auto folder = study.out("results") / "tune";
  CHECK(programs::test::lines_in(content_of(folder / "trials.jsonl")) == 2);
  // Another trial, beside those that are there.
  tune = programs::test::last_of_each([&] {
    tune.insert(tune.end(), {"--trials=3", "--resume"});
    return tune;
  }());
  REQUIRE(Child(tune, study.out("err")).wait() == 0);
  CHECK(programs::test::lines_in(content_of(folder / "trials.jsonl")) == 3);
  REQUIRE(study.train("compare", "table", {"--gates=teacher,top_k", "--twins"}) == 0);
  REQUIRE(study.train("distil", "student", {"--gate=comet", "--local-search=relaxed"}) == 0);
  for (const auto& [reported, said] :
       {std::pair(folder, "Search tune"), std::pair(study.out("table"), "top_k_twin"),
        std::pair(study.out("table"), "Result on the dev rows"),
        std::pair(study.out("teacher"), "Training teacher"),
        std::pair(study.out("student"), "layer &quot;2&quot;")}) {
    CAPTURE(reported);
    const Outcome outcome = run_program({"report", reported.string()});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK_THAT(content_of(reported / "report" / "report.html"), ContainsSubstring(said));
  }
  CHECK(std::filesystem::exists(study.out("student") / "report" / "sparsity.tsv"));
  CHECK_FALSE(std::filesystem::exists(study.out("teacher") / "report" / "sparsity.tsv"));
}
