// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <comet/io/file_error.hpp>

#include <bert/data/tasks.hpp>

#include <examples/bert/small_vocabulary.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::bert;
using comet::test::TemporaryDirectory;

namespace {

const std::string sst_header = "sentence\tlabel\n";
const std::string mrpc_header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";
const std::string rte_header = "index\tsentence1\tsentence2\tlabel\n";
const std::string sts_header =
    "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n";

std::vector<Example> read(const char* task, const std::string& content) {
  const TemporaryDirectory directory;
  return read_examples(task_named(task), directory.write("train.tsv", content));
}

/// What train.tsv is refused with, but for its folder.
std::string refused(const char* task, const std::string& content) {
  const TemporaryDirectory directory;
  const auto file = directory.write("train.tsv", content);
  try {
    (void)read_examples(task_named(task), file);
  } catch (const comet::FileError& error) {
    const std::string text = error.what(), folder = directory.path().string() + "/";
    CHECK(text.starts_with(folder));
    return text.substr(folder.size());
  }
  return "not refused";
}

void check(const Example& example, const std::string& first, const std::string& second,
           double label) {
  CHECK(example.first == first);
  CHECK(example.second == second);
  CHECK(example.label == label);
}

}  // namespace

TEST_CASE("tasks: each in its own form", "[bert][data]") {
  const auto cola = read("CoLA", "gj04\t1\t\tBirds sing.\ncj99\t0\t*\tBirds sings.");
  REQUIRE(cola.size() == 2);
  check(cola[0], "Birds sing.", "", 1);
  check(cola[1], "Birds sings.", "", 0);
  const auto sst = read("SST-2", sst_header + "a fine film \t1\nnot so\t0\n");
  REQUIRE(sst.size() == 2);
  check(sst[0], "a fine film ", "", 1);
  const auto mrpc = read("MRPC", mrpc_header + "1\t17\t18\tHe ran.\tHe was running.\n");
  REQUIRE(mrpc.size() == 1);
  check(mrpc[0], "He ran.", "He was running.", 1);
  const auto rte = read("RTE", rte_header + "0\tIt rains.\tIt is wet.\tentailment\n" +
                                   "1\tIt rains.\tIt is dry.\tnot_entailment\n");
  REQUIRE(rte.size() == 2);
  check(rte[0], "It rains.", "It is wet.", 0);
  check(rte[1], "It rains.", "It is dry.", 1);
  const auto sts =
      read("STS-B", sts_header + "0\tnews\tx\t2012\t7\tnone\tnone\tA dog.\tA cat.\t1.250\n");
  REQUIRE(sts.size() == 1);
  check(sts[0], "A dog.", "A cat.", 1.25);
}

TEST_CASE("tasks: quotes, controls, other ends of lines and a mark at the start of the file",
          "[bert][data]") {
  const auto sst = read(
      "SST-2", "\xEF\xBB\xBF" + sst_header + "\"one \b quote\t0\n'' and \"\" four\x12\t1\r\n\t1\n");
  REQUIRE(sst.size() == 3);
  check(sst[0], "\"one \b quote", "", 0);
  check(sst[1], "'' and \"\" four\x12", "", 1);
  check(sst[2], "", "", 1);
}

TEST_CASE("tasks: what is wrong is said in one line with file and line", "[bert][data]") {
  CHECK(refused("SST-2", sst_header + "fine\t1\nnot so\n") ==
        "train.tsv:3: has 1 column, expected the 2 of SST-2");
  CHECK(refused("SST-2", sst_header + "fine\t1\n\nnot so\t0\n") ==
        "train.tsv:3: has 1 column, expected the 2 of SST-2");
  CHECK(refused("MRPC", mrpc_header + "1\t17\t18\tHe\tran.\tHe was running.\n") ==
        "train.tsv:2: has 6 columns, expected the 5 of MRPC");
  CHECK(refused("SST-2", sst_header + "fine\t2\n") ==
        "train.tsv:2: the label is \"2\", expected 0 or 1");
  CHECK(refused("SST-2", sst_header + "fine\t\n") ==
        "train.tsv:2: the label is \"\", expected 0 or 1");
  CHECK(refused("RTE", rte_header + "0\ta\tb\tneutral\n") ==
        "train.tsv:2: the label is \"neutral\", expected entailment or not_entailment");
  for (const std::string score : {"5.01", "-1", "nan", "inf", "1e999", "2 ", "", "x"}) {
    CAPTURE(score);
    CHECK(refused("STS-B", sts_header + "0\t1\t2\t3\t4\t5\t6\ta\tb\t" + score + "\n") ==
          "train.tsv:2: the label is \"" + score + "\", expected a number from 0 to 5");
  }
  CHECK(refused("CoLA", "gj04\t1\t\tfine\ngj04\t0\t*\tnot \xE9 so\n") ==
        "train.tsv:2: is not UTF-8");
}

TEST_CASE("tasks: a header is looked at, and is no row", "[bert][data]") {
  CHECK(refused("SST-2", "label\tsentence\n1\tfine\n") ==
        "train.tsv:1: column 2 of the header is \"sentence\", expected \"label\"");
  CHECK(refused("SST-2", "fine\t1\n") ==
        "train.tsv:1: column 2 of the header is \"1\", expected \"label\"");
  CHECK(refused("CoLA", "source\tlabel\tmark\tsentence\n") ==
        "train.tsv:1: the label is \"label\", expected 0 or 1");
  CHECK(refused("SST-2", sst_header) == "train.tsv: holds no row of SST-2");
  CHECK(refused("SST-2", "") == "train.tsv: holds no row of SST-2");
}

TEST_CASE("tasks: a folder of tasks, or of one", "[bert][data]") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path() / "SST-2");
  (void)directory.write("SST-2/dev.tsv", sst_header + "fine\t1\n");
  const Task& task = task_named("SST-2");
  CHECK(read_split(task, directory.path(), "dev").size() == 1);
  CHECK(read_split(task, directory.path() / "SST-2", "dev").size() == 1);
  CHECK_THROWS_WITH(read_split(task, directory.path(), "train"),
                    (directory.path() / "SST-2/train.tsv").string() + ": cannot be opened");
  CHECK_THROWS_WITH(read_split(task, directory.path() / "none", "dev"),
                    (directory.path() / "none/SST-2/dev.tsv").string() + ": cannot be opened");
  CHECK_THROWS_WITH(task_named("CoLa"), "there is no task \"CoLa\", did you mean CoLA?");
}

TEST_CASE("tasks: one sentence or two, classes or a number", "[bert][data]") {
  const Tokenizer tokenizer(programs::bert::test::small_vocabulary());
  const std::vector<Example> examples = {{.first = "a b", .second = "c"}};
  CHECK(encode(task_named("CoLA"), examples, tokenizer, 10)[0] == tokenizer.encode("a b", 10));
  CHECK(encode(task_named("RTE"), examples, tokenizer, 10)[0] == tokenizer.encode("a b", "c", 10));
  std::vector<std::pair<std::string, comet::Index>> labels;
  for (const Task& task : tasks()) labels.emplace_back(task.name, task.num_labels());
  CHECK(labels == std::vector<std::pair<std::string, comet::Index>>{
                      {"CoLA", 2}, {"SST-2", 2}, {"MRPC", 2}, {"RTE", 2}, {"STS-B", 1}});
}

TEST_CASE("tasks: scores, the task's own first", "[bert][data]") {
  std::vector<Example> examples(4);
  for (std::size_t i = 0; i < 4; ++i) examples[i].label = i == 0 ? 0 : 1;
  const std::vector<double> predicted = {0, 1, 1, 0};
  using Scores = std::vector<std::pair<std::string, double>>;
  const auto check_scores = [&](const char* task, const Scores& expected) {
    CAPTURE(task);
    const Scores result = scores(task_named(task), predicted, examples);
    REQUIRE(result.size() == expected.size());
    for (std::size_t i = 0; i < result.size(); ++i) {
      CHECK(result[i].first == expected[i].first);
      CHECK(result[i].second == Approx(expected[i].second));
    }
  };
  // Of class 1: two right, none too many, one missing; one right of class 0.
  const double matthews = 2 / std::sqrt(2.0 * 3 * 1 * 2);
  check_scores("CoLA", {{"matthews", matthews}, {"accuracy", 0.75}});
  check_scores("SST-2", {{"accuracy", 0.75}});
  check_scores("MRPC", {{"f1", 0.8}, {"accuracy", 0.75}});
  check_scores("RTE", {{"accuracy", 0.75}});
  check_scores("STS-B", {{"pearson", 1 / std::sqrt(3.0)}, {"spearman", 1 / std::sqrt(3.0)}});
  CHECK_THROWS_WITH(scores(task_named("RTE"), std::vector<double>{1}, examples),
                    "comet::scores: predicted.size() is 1, expected examples.size() = 4");
}
