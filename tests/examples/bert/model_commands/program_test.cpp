// SPDX-License-Identifier: MIT
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>
#include <comet/io/safetensors.hpp>

#include <bert/model/bert.hpp>
#include <examples/bert/run_program.hpp>
#include <examples/bert/small_vocabulary.hpp>
#include <support/catch.hpp>

namespace {

using namespace programs::bert::test;
using programs::bert::Bert;
using programs::bert::BertConfig;
using programs::test::content_of;
using Json = nlohmann::json;
// A child of a process that has used LibTorch's threads or gone back a graph cannot: what trains is
// a child, and what does not has one thread.
using Child = programs::test::Child<Program>;

/// A model of a few thousand numbers, a task of a hundred rows, and trainings on them.
class SmallStudy : public programs::test::Trainings {
 public:
  SmallStudy() {
    std::filesystem::create_directories(out("model"));
    std::filesystem::create_directories(out("glue") / "CoLA");
    const programs::bert::Vocabulary vocabulary = small_vocabulary();
    std::ofstream pieces(out("model") / "vocab.txt");
    for (programs::bert::TokenId id = 0; id < vocabulary.size(); ++id)
      pieces << vocabulary[id] << '\n';
    const BertConfig config{.vocab = vocabulary.size(),
                            .hidden = 12,
                            .layers = 2,
                            .heads = 3,
                            .intermediate = 16,
                            .positions = 24};
    std::ofstream(out("model") / "config.json") << programs::bert::to_json(config).dump();
    Bert<float> model(config);
    programs::bert::draw_weights(model, comet::RandomKey(7));
    comet::save_parameters(out("model") / "model.safetensors", model);
    write_rows("train.tsv", 90, 1);
    write_rows("dev.tsv", 30, 2);
  }

  [[nodiscard]] Arguments small(const std::string& command, const std::string& name,
                                const Arguments& more) const {
    Arguments all = {command,
                     "--out=" + out(name).string(),
                     "--data=" + out("glue").string(),
                     "--pretrained=" + out("model").string(),
                     "--max-length=20",
                     "--batch-size=8",
                     "--epochs=2",
                     "--threads=1",
                     "--quiet"};
    if (command != "finetune")
      all.insert(all.end(), {"--teacher=" + model("teacher"), "--experts=4", "--shared=4",
                             "--own=2", "--importance-share=.5"});
    all.insert(all.end(), more.begin(), more.end());
    return programs::test::last_of_each(all);
  }
  /// \return its exit status
  int train(const std::string& command, const std::string& name, const Arguments& more = {}) const {
    return Child(small(command, name, more), out("err")).wait();
  }

  /// All that a training leaves, but for times.
  [[nodiscard]] std::string remains(const std::string& name) const {
    const auto timeless = [](Json json) {
      for (const char* time : {"seconds", "seconds_per_epoch", "test_seconds", "threads"})
        json.erase(time);
      for (const char* part : {"test", "validation"})
        if (json.contains(part)) {
          json[part].erase("tokens_per_second");
          json[part].erase("trained_tokens_per_second");
        }
      return json.dump() + '\n';
    };
    std::string all = timeless(result(name));
    std::istringstream epochs(content_of(out(name) / "metrics.jsonl"));
    for (std::string line; std::getline(epochs, line);) all += timeless(Json::parse(line));
    return all + content_of(out(name) / "steps.jsonl") +
           content_of(out(name) / "model.safetensors");
  }

 private:
  void write_rows(const char* name, int rows, std::uint64_t seed) const {
    const std::vector<std::string> words = {"the", "a", "we", "of", "and", "in", "to", "not"};
    const comet::RandomKey key(seed);
    std::ofstream file(out("glue") / "CoLA" / name);
    for (int row = 0; row < rows; ++row) {
      const auto place = key.fold(row);
      file << "x\t" << place.index(0, 2) << "\t\t";
      for (std::uint64_t word = 0; word < 2 + place.index(1, 12); ++word)
        file << words[std::size_t(place.fold(0).index(word, words.size()))] << ' ';
      file << '\n';
    }
  }
};

}  // namespace

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
    CHECK_THAT(table, Catch::Contains("| " + std::string(row) + ' '));
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
  CHECK_THAT(content_of(study.out("all") / "compare.md"), Catch::Contains(", gates by sentence, "));
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

TEST_CASE("bert: bad input ends with 2 and one line", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  const auto refused = [&](const std::string& command, const Arguments& more,
                           const std::string& why) {
    CAPTURE(command, more, why);
    check_refused(study.small(command, "refused", more), why);
    CHECK_FALSE(std::filesystem::exists(study.out("refused") / "result.json"));
  };
  refused("finetune", {"--max-length=25"}, "--max-length is 25, expected at most the 24 positions");
  refused("finetune", {"--task=CoLO"}, "CoLA");
  refused("finetune", {"--task=RTE"}, "train.tsv: cannot be opened");
  refused("distil", {"--own=5"}, "--shared + --experts * --own is 24, expected at most the 16");
  refused("distil", {"--teacher=" + study.out("model/model.safetensors").string()},
          "is no model of this program");
  refused("distil", {"--teacher=" + study.out("none").string()}, "cannot be read");
  refused("distil", {"--k=5"}, "--k is 5, expected from 1 to --experts = 4");
  refused("distil", {"--gate=dense_wide"}, "--units is 0, expected the units of dense_wide");
  refused("distil", {"--gate=dense_wide", "--units=17"},
          "--units is 17, expected from 1 to 16, those of the teacher");
  refused("compare", {"--gates=dense_17"}, "--units is 17, expected from 1 to 16");
  for (const std::string row : {"dense_0", "dense_07", "dense_7x", "dense_", "dense_12345678"})
    refused("compare", {"--gates=" + row}, "\"" + row + "\" is none of");

  const auto with = [&](const std::filesystem::path& file, const std::string& text, auto check) {
    const std::string before = content_of(file);
    std::ofstream(file) << text;
    check();
    std::ofstream(file) << before;
  };
  const auto train = study.out("glue") / "CoLA" / "train.tsv";
  with(train, "x\t1\t\tthe\nx\t2\t\ta\n", [&] { refused("finetune", {}, "train.tsv"); });
  with(train, "x\t1\t\tthe\nx\t1\n", [&] { refused("finetune", {}, "train.tsv"); });
  const auto vocabulary = study.out("model") / "vocab.txt";
  with(vocabulary, content_of(vocabulary) + "onemore\n",
       [&] { refused("finetune", {}, "vocab.txt"); });
  const auto config = study.out("model") / "config.json";
  std::string wider = content_of(config);
  wider.replace(wider.find("\"intermediate_size\":16"), 22, "\"intermediate_size\":17");
  with(config, wider,
       [&] { refused("finetune", {}, "encoder.layer.1.intermediate.dense.weight"); });
  std::string deeper = content_of(config);
  deeper.replace(deeper.find("\"num_hidden_layers\":2"), 21, "\"num_hidden_layers\":3");
  with(config, deeper,
       [&] { refused("finetune", {}, "lacks encoder.layer.2.attention.self.query.weight"); });
}
