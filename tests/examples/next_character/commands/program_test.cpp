// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>

#include <next_character/model/train_options.hpp>
#include <programs/study/search_space.hpp>

#include <examples/next_character/run_program.hpp>
#include <support/catch.hpp>

using namespace programs::next_character::test;
using programs::test::remains_of;
using Json = nlohmann::json;

TEST_CASE("next_character train: counts in steps, learns, and says so", "[next_character]") {
  const SmallTraining training;
  const Outcome outcome = training.train("a", {"--steps=150"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(outcome.err.empty());  // quiet
  CHECK_THAT(outcome.out, ContainsSubstring("bits/character") && ContainsSubstring("comet"));
  const Json result = training.result("a");
  CHECK(result["test"]["bits"] < 1.5);  // of log2 of some twenty symbols
  CHECK(result["epochs"] == 8);         // 150 steps, validated every 20 and at the end
  const std::string metrics = content_of(training.out("a") / "metrics.jsonl");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 8);
  CHECK_THAT(metrics, ContainsSubstring("\"step\":150,"));

  Arguments loud = training.small("train", "b");
  loud.erase(std::find(loud.begin(), loud.end(), "--quiet"));
  const Outcome told = run_program(loud);
  REQUIRE(told.code == 0);
  CHECK_THAT(told.err, ContainsSubstring("\nstep 20/50  training loss") &&
                           ContainsSubstring("\nstep 50/50  training loss"));
}

TEST_CASE("next_character train: the same bits for any number of threads", "[next_character]") {
  const SmallTraining training;
  for (const std::string gate : {"comet", "top_k", "dense"}) {
    INFO(gate);
    for (const std::string threads : {"1", "2", "4"})
      REQUIRE(
          training
              .train(gate + threads, {"--gate=" + gate, "--threads=" + threads, "--hidden-dim=64",
                                      "--expert-dim=64", "--batch-size=512", "--steps=30"})
              .code == 0);
    CHECK(remains_of(training.out(gate + "1")) == remains_of(training.out(gate + "2")));
    CHECK(remains_of(training.out(gate + "1")) == remains_of(training.out(gate + "4")));
  }
}

TEST_CASE("next_character train --resume: killed at any moment, it ends with the same bits",
          "[next_character]") {
  const SmallTraining training;
  int hits = 0;
  std::uint64_t draw = 0;
  const comet::RandomKey key(20);
  for (const std::string gate : {"comet", "balanced_top_k", "dense"}) {
    const Arguments options = {"--gate=" + gate, "--checkpoint-every=7", "--steps=400"};
    const auto record = [&](const std::string& name) {
      return "--record=" + training.out(name + ".jsonl").string();
    };
    Arguments left_alone = options;
    left_alone.push_back(record(gate));
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(training.train(gate, left_alone).code == 0);
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    Arguments again = options;
    again.insert(again.end(), {"--resume", record(gate + "-killed")});
    const Arguments arguments = training.small("train", gate + "-killed", again);
    for (int kill = 0; kill < 4; ++kill) {
      Child child(arguments, training.out("err"));
      std::this_thread::sleep_for(whole * key.uniform(draw++));
      if (child.end(SIGKILL) == -1) ++hits;
    }
    REQUIRE(Child(arguments, training.out("err")).wait() == 0);
    INFO(gate);
    CHECK(remains_of(training.out(gate + "-killed")) == remains_of(training.out(gate)));
    CHECK(content_of(training.out(gate + "-killed.jsonl")) ==
          content_of(training.out(gate + ".jsonl")));
    CHECK(programs::test::lines_in(content_of(training.out(gate + ".jsonl"))) == 40);
  }
  CHECK(hits >= 3);
}

TEST_CASE("next_character train: the way of a few places, and its page", "[next_character]") {
  const SmallTraining training;
  REQUIRE(training.train("out", {"--gate=comet"}).code == 0);
  const Json rows = Json::parse(content_of(training.out("out") / "decision_paths.json"));
  std::string kinds;
  for (const Json& row : rows) {
    const std::string name = row["row"];
    kinds += name.substr(0, name.find(':')) + ' ';
    CHECK_THAT(name, Matches("[a-z]+: \".{6,}\" and then \".+\""));
    CHECK(row["gates"].size() == 1);
    double sum = 0;
    for (const Json& entry : row["gates"][0]["experts"]) sum += entry["weight"].get<double>();
    CHECK(sum == Approx(1));
  }
  CHECK(kinds == "indentation name number comment punctuation blank ");  // there are no strings
  const Outcome report = run_program({"report", training.out("out").string()});
  INFO(report.err);
  REQUIRE(report.code == 0);
  CHECK_THAT(content_of(training.out("out") / "report" / "report.html"),
             ContainsSubstring("<h3>number: &quot;") &&
                 ContainsSubstring("<p>character: expert ") && ContainsSubstring("<svg "));
}

TEST_CASE("next_character compare: a row each, in a table and in result.json", "[next_character]") {
  const SmallTraining training;
  const Arguments arguments = training.small(
      "compare", "cmp", {"--gates=comet,top_k,dense,dense_wide", "--seeds=1,2", "--plots"});
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Json result = training.result("cmp");
  REQUIRE(result["rows"].size() == 4);
  CHECK(result["rows"][1]["gate"] == "top_k");
  for (const Json& row : result["rows"]) {
    CHECK(row["runs"].size() == 2);
    for (const Json& run : row["runs"]) CHECK(run["test"]["bits"] > 0);
  }
  // 8 hidden units, 12 features in and out; top_k has four planes of 12 besides.
  CHECK(result["rows"][2]["runs"][0]["test"]["multiply_adds"] == 192);
  CHECK(result["rows"][3]["runs"][0]["test"]["multiply_adds"] == 384);
  CHECK(result["rows"][1]["runs"][0]["test"]["multiply_adds"] == 240);
  CHECK_THAT(outcome.out, ContainsSubstring("bits/character") && ContainsSubstring("+-"));
  CHECK(std::filesystem::exists(training.out("cmp") / "bits_by_multiply_adds.tsv"));
  CHECK(std::filesystem::exists(training.out("cmp") / "bits_by_seconds.gp"));
  const Outcome report = run_program({"report", training.out("cmp").string()});
  INFO(report.err);
  REQUIRE(report.code == 0);
  CHECK_THAT(report.out, ContainsSubstring("/report/losses.tsv") &&
                             ContainsSubstring("/report/bits_by_multiply_adds.tsv"));
  CHECK_THAT(content_of(training.out("cmp") / "report" / "report.html"),
             ContainsSubstring("<tr class=\"marked\"><td class=\"word\">dense_wide</td>"));
  // A second time there is nothing to train.
  Arguments again = arguments;
  again.push_back("--resume");
  CHECK(run_program(again).out == outcome.out);
}

TEST_CASE("next_character: what a trained model says", "[next_character]") {
  const SmallTraining training;
  for (const std::string gate : {"comet", "hash", "balanced_top_k", "dense_all"}) {
    INFO(gate);
    REQUIRE(training.train(gate, {"--gate=" + gate, "--steps=100"}).code == 0);
    const std::string model = "--model=" + training.model(gate);
    const Outcome evaluated =
        run_program({"evaluate", model, "--data=" + training.data(), "--json", "--threads=2"});
    INFO(evaluated.err);
    REQUIRE(evaluated.code == 0);
    CHECK(Json::parse(evaluated.out)["bits"] == training.result(gate)["test"]["bits"]);
    CHECK(Json::parse(evaluated.out)["multiply_adds"] ==
          training.result(gate)["test"]["multiply_adds"]);
    const Outcome whole =
        run_program({"evaluate", model, "--data=" + training.data(), "--split=all"});
    CHECK(whole.code == 0);
    CHECK_THAT(whole.out, ContainsSubstring("characters a second"));

    const Outcome sampled = run_program({"sample", model, "--length=40", "--beginning=def "});
    CHECK(sampled.code == 0);
    CHECK(sampled.out.size() == 45);
    CHECK(sampled.out.starts_with("def "));
    CHECK(run_program({"sample", model, "--length=40", "--beginning=def "}).out == sampled.out);

    const auto page = training.out(gate + ".html");
    const Outcome explained = run_program(
        {"explain", model, "--data=" + training.data(), "--length=50", "--out=" + page.string()});
    INFO(explained.err);
    REQUIRE(explained.code == 0);
    CHECK_THAT(explained.out, ContainsSubstring("indentation"));
    const std::string html = content_of(page);
    CHECK(html.starts_with("<!DOCTYPE html>"));
    CHECK_THAT(html, EndsWith("</html>\n") && !ContainsSubstring("http"));
  }
}

TEST_CASE("next_character tune and report: a search, and its pictures", "[next_character]") {
  const SmallTraining training;
  const auto space = training.out("space.json");
  std::ofstream(space) << R"({"gate": "top_k", "learning_rate": {"log_uniform": [1e-3, 1e-2]}})";
  Arguments tune = training.small("tune", "unused", {"--space=" + space.string(), "--trials=2"});
  std::erase_if(tune, [](const std::string& argument) {
    return argument.starts_with("--out") || argument.starts_with("--learning-rate");
  });
  tune.insert(tune.end(), {"--results=" + training.out("results").string()});
  const Outcome outcome = run_program(tune);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(std::filesystem::exists(training.out("results") / "tune" / "summary.md"));
  CHECK(run_program({"report", (training.out("results") / "tune").string()}).code == 0);
  REQUIRE(training.train("a").code == 0);
  const Outcome report = run_program({"report", training.out("a").string()});
  CHECK(report.code == 0);
  CHECK_THAT(report.out,
             ContainsSubstring("/report/loss.tsv") && ContainsSubstring("/report/sparsity.tsv"));
  CHECK_THAT(content_of(training.out("a") / "report" / "report.html"),
             ContainsSubstring("Result on the test rows") && ContainsSubstring("bits/character"));
}

TEST_CASE("next_character tune: the search spaces that come with it are right",
          "[next_character]") {
  using namespace programs::next_character;
  const auto root = std::filesystem::path(COMET_TEST_DATA).parent_path().parent_path();
  int spaces = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           root / "examples" / "next_character" / "search_spaces")) {
    TrainOptions options;
    const auto space = programs::SearchSpace::read(entry.path(), table_of(options));
    CHECK(space.contains("learning_rate"));
    CHECK(space.json()["gate"] == entry.path().stem().string());
    ++spaces;
  }
  CHECK(spaces == 2);
}

TEST_CASE("next_character train --resume: another text of the same name and length is refused",
          "[next_character][error]") {
  const SmallTraining training;
  const std::string file = training.out("own.txt").string();
  std::string text;
  for (const char* const part : {"1.py", "2.py", "3.py", "4.py", "5.py"})
    text += content_of(training.out("texts") / part);
  std::ofstream(file) << text;
  REQUIRE(training.train("a", {"--data=" + file}).code == 0);
  std::swap(text[10], text[text.size() / 2]);
  std::reverse(text.begin(), text.begin() + 100);
  std::ofstream(file) << text;
  const Outcome outcome = training.train("a", {"--data=" + file, "--resume"});
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring("is of another training: content: "));
}

TEST_CASE("next_character: bad input ends with 2 and one line", "[next_character][error]") {
  const SmallTraining training;
  const auto refused = programs::test::check_refused<Program>;
  const std::string broken = training.out("broken").string();
  std::ofstream(broken) << "no model";
  refused({}, "subcommand");
  refused({"trian"}, "did you mean train?");
  refused({"train", "--gate=denes"}, "did you mean dense?");
  refused({"train", "--data=" + broken, "--window=500"}, "a window of 500 needs more");
  refused({"train", "--data=/nowhere"}, "there is no such file or folder");
  refused({"train", "--k=9"}, "--k is 9, expected from 1 to --experts = 8");
  refused({"train", "--gate=sampled"},
          "--k is 1, expected from 2 to --experts = 8 with --gate sampled");
  refused({"train", "--data=/dev/zero"}, "is neither a file nor a folder");
  refused({"train", "--data=/a\xff"}, "expected UTF-8");
  refused({"train", "--data", ""}, "--data is empty");
  refused({"train", "--seed=18446744073709551615"}, "expected at most 9223372036854775807");
  refused({"compare", "--seeds", ""}, "--seeds is empty");
  refused({"compare", "--seeds=1,99999999999999999999"}, "expected at most 9223372036854775807");
  refused({"report", ""}, "is empty");
  refused({"sample", "--model=" + broken}, "broken: ");
  refused({"sample", "--model=/nowhere"}, "/nowhere: ");
  refused({"compare", "--gates=none"}, "is none of comet");

  REQUIRE(training.train("a").code == 0);
  const std::string model = "--model=" + training.model("a");
  refused({"sample", model, "--temperature=-1"}, "--temperature is -1, expected");
  refused({"explain", model, "--out=" + training.model("a")}, "is read and would be lost");
  // One of the texts of a folder, too.
  const std::string one = training.data() + "/1.py";
  for (const std::string& data : {training.data(), one})
    refused({"explain", model, "--data=" + data, "--out=" + one}, "is read and would be lost");
  const std::string text = (training.out("texts") / "1.py").string();
  refused({"train", "--data=" + text, "--record=" + text}, "is read and would be lost");
  refused({"sample", model, "--length=-1"}, "--length is -1, expected at least 0");
  refused({"evaluate", model, "--data=" + training.data(), "--endings=.c"}, "holds no file");
  refused({"evaluate", model, "--data=/nowhere"}, "/nowhere: there is no such file or folder");
  const std::string other = training.out("other.txt").string();
  for (std::ofstream lines(other); lines.tellp() < 3000;) lines << "~!\n";
  refused({"evaluate", model, "--data=" + other},
          "is a model of other characters than those of " + other +
              "; name the text of its training: --data PATH");
  programs::test::check_cut_model_refused<Program>(training.model("a"), broken,
                                                   {"sample", "--model=" + broken});
  for (const Arguments& arguments :
       {Arguments{"sample", "--model=" + broken},
        Arguments{"evaluate", "--model=" + broken, "--data=" + training.data()}})
    programs::test::check_nan_model_refused<Program>(training.model("a"), broken, arguments);
  refused({"evaluate", model, "--data=" + training.data(), "--threads=-1"},
          "--threads is -1, expected from 0 to 1024");
  refused({"train", "--steps=1", "--steps=2"}, "--steps is given twice");
  CHECK_THAT(run_program({"train", "--help"}).out, !ContainsSubstring("negatives"));
}

TEST_CASE("next_character: nothing is written where it is read, or would be the next time",
          "[next_character][error]") {
  const SmallTraining training;
  const std::string data = training.data(), below = data + "/results";
  const auto refused = [&](const std::string& command, const Arguments& more,
                           const std::string& reason) {
    programs::test::check_refused<Program>(training.small(command, "a", more), reason);
    CHECK_FALSE(std::filesystem::exists(below));
  };
  const std::string outside = "would become part of the data, expected a place outside of them";
  refused("train", {"--out=" + below}, outside);
  refused("train", {"--out=" + data + "/../texts"}, outside);
  refused("train", {"--record=" + data + "/record"}, "--record is \"" + data + "/record\", which");
  refused("compare", {"--gates=dense", "--out=" + below}, outside);
  refused("train", {"--out=" + below, "--endings=.py,.jsonl"}, "texts/results/metrics");
  std::filesystem::create_directory_symlink(data, training.out("link"));
  refused("train", {"--out=" + training.out("link").string()}, outside);

  // Where nothing of the path is there yet.
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(data);
  refused("train", {"--data=.", "--out=results/comet"}, outside);
  std::filesystem::current_path(before);

  // Texts that are there already and have such names.
  const std::string text = content_of(data + "/1.py");
  for (const std::string name : {"metrics.jsonl", "compare.md", "summary.md"})
    std::ofstream(data + "/" + name) << text;
  refused("train", {"--out=" + data, "--endings=.jsonl"}, "is read and would be lost");
  refused("compare", {"--gates=dense", "--out=" + data, "--data=" + data + "/compare.md"},
          "is read and would be lost");
  const std::string space = training.out("space.json").string();
  std::ofstream(space) << R"({"gate": "dense"})";
  Arguments tune = training.small("tune", "", {"--space=" + space, "--results=" + data + "/.."});
  std::erase_if(tune, [](const std::string& argument) { return argument.starts_with("--out"); });
  for (const auto& [where, reason] :
       {std::pair(data, outside.c_str()),
        std::pair(data + "/summary.md", "is read and would be lost")}) {
    Arguments arguments = tune;
    arguments.insert(arguments.end(), {"--data=" + where, "--experiment-name=texts"});
    programs::test::check_refused<Program>(programs::test::last_of_each(arguments), reason);
  }
  for (const std::string name : {"metrics.jsonl", "compare.md", "summary.md"})
    CHECK(content_of(data + "/" + name) == text);

  // What is no text of the folder's may lie in it: the same training again is the same.
  for (const std::string& out : {below, data + "/.hidden"}) {
    INFO(out);
    const Arguments options = {"--out=" + out, "--steps=20", "--resume",
                               out == below ? "--endings=.py" : "--held-out=1500000"};
    for (int time = 0; time < 2; ++time) CHECK(training.train("a", options).code == 0);
  }
}

TEST_CASE("next_character train: kept out of a folder, or diverging, it leaves what is said",
          "[next_character][error]") {
  const SmallTraining training;
  programs::test::check_kept_out_and_diverging<Program>(
      training.out("a"),
      training.small("train", "a", {"--learning-rate=1e30", "--clip-norm=1e30"}));
}

TEST_CASE("next_character tune: a window that no part has is refused before anything is made",
          "[next_character][error]") {
  const SmallTraining training;
  const std::string space = training.out("space.json").string();
  std::ofstream(space) << R"({"window": {"categorical": [6, 20000]}})";
  Arguments arguments = training.small(
      "tune", "", {"--space=" + space, "--trials=9", "--results=" + training.out("r").string()});
  std::erase_if(arguments, [](const std::string& argument) {
    return argument.starts_with("--out") || argument.starts_with("--window") ||
           argument == "--quiet";
  });
  programs::test::check_refused<Program>(arguments, "--window is 20000, expected less than the ");
  CHECK_FALSE(std::filesystem::exists(training.out("r")));
}

TEST_CASE("next_character evaluate: another text than the training's, with a note",
          "[next_character]") {
  const SmallTraining training;
  REQUIRE(training.train("a").code == 0);
  const auto evaluate = [&](const std::string& split) {
    return run_program({"evaluate", "--model=" + training.model("a"), "--data=" + training.data(),
                        "--split=" + split, "--json"});
  };
  CHECK(evaluate("test").err.empty());
  CHECK(Json::parse(evaluate("test").out)["is_of_training"] == true);
  const auto file = std::filesystem::path(training.data()) / "1.py";
  std::string text = content_of(file);
  std::swap(text[4], text[5]);
  std::ofstream(file) << text;
  const Outcome changed = evaluate("test");
  CHECK(changed.code == 0);
  CHECK_THAT(changed.err, ContainsSubstring(" is not what the model was trained on"));
  CHECK(Json::parse(changed.out)["is_of_training"] == false);
  CHECK(evaluate("all").err.empty());  // is asked of any text
}
