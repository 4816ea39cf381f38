// SPDX-License-Identifier: MIT
#include <string>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using programs::movielens::test::Arguments;
using programs::movielens::test::lines_in;
using programs::movielens::test::Outcome;
using programs::movielens::test::run_program;
using programs::movielens::test::SmallTraining;

namespace {

/// The made-up ratings with other names, in another order and with some rows that are not rated.
std::string odd_table(const SmallTraining& training) {
  std::string text = content_of(training.data() + "/ratings.csv");
  std::string table = "wie;was;wo;wer\n";
  for (std::size_t begin = text.find('\n') + 1; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    const std::size_t item = line.find(',') + 1;
    const std::size_t rating = line.find(',', item) + 1;
    const std::size_t time = line.find(',', rating);
    std::string stars = line.substr(rating, time - rating);
    if (stars.find('.') != std::string::npos) stars[stars.find('.')] = ',';
    table += stars + ";" + line.substr(item, rating - item - 1) + ";9;" + line.substr(0, item - 1) +
             "\n";
    begin = end + 1;
  }
  return table + "-1;1;9;1\n-1;2;9;1\n";
}

}  // namespace

TEST_CASE("tables: a model remembers how its table is read", "[movielens][table_program]") {
  const SmallTraining training;
  const TemporaryDirectory directory;
  const std::string data = directory.write("odd.csv", odd_table(training)).string();
  (void)directory.write("movies.csv", "index,movieId,title\n7,1,One\n1,7,Seven\n");
  REQUIRE(training.train("usual").code == 0);
  const Outcome trained =
      training.train("odd", {"--data=" + data, "--columns=wer,was,wie", "--not-rated=-1"});
  REQUIRE(trained.err == "");
  REQUIRE(trained.code == 0);
  CHECK(training.result("odd")["options"]["columns"] == Arguments{"wer", "was", "wie"});
  CHECK(training.result("odd")["options"]["not_rated"] == "-1");
  CHECK(!training.result("usual")["options"].contains("columns"));
  CHECK(training.result("odd")["test"] == training.result("usual")["test"]);

  const auto evaluated = [&](const Arguments& more) {
    Arguments all = {"evaluate", "--model", training.model("odd"), "--data", data};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  CHECK(evaluated({}).err == "");
  CHECK(evaluated({}).code == 0);
  CHECK(evaluated({"--columns", "4,2,1"}).out == evaluated({}).out);
  CHECK_THAT(evaluated({"--columns", "4,2,3", "--duplicates", "last"}).err,
             ContainsSubstring("no row has --not-rated \"-1\""));
  const Outcome recommended = run_program({"recommend", "--model", training.model("odd"), "--data",
                                           data, "--user", "1", "--top", "40"});
  CHECK(recommended.err == "");
  CHECK(recommended.code == 0);
  CHECK_THAT(recommended.out, !ContainsSubstring("  7\n"));
}

TEST_CASE("tables: what may surprise is said, once and before the training",
          "[movielens][table_program]") {
  const SmallTraining training;
  const TemporaryDirectory directory;
  std::string text = content_of(training.data() + "/ratings.csv");
  text.replace(0, text.find('\n'), "user,item,rating,time");
  text += "1,99999,-1,0\n";
  const std::string data = directory.write("r.csv", text).string();
  const Outcome outcome = training.train("noted", {"--data=" + data});
  CHECK(outcome.code == 0);
  CHECK(outcome.err == "movielens: note: " + data +
                           ": 1 rating of 401 is -1, all others from 1 to 5; if it means \"not "
                           "rated\": --not-rated -1\n");
}

TEST_CASE("tables: options of the table that are wrong", "[movielens][table_program][error]") {
  const SmallTraining training;
  const auto refused = [&](const Arguments& arguments, const std::string& reason) {
    const Outcome outcome = training.train("refused", arguments);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
    CHECK(!std::filesystem::exists(training.out("refused")));
  };
  refused({"--columns=userId,movieId,movieId"}, "--columns: \"movieId\" is there twice");
  refused({"--columns=userId,movieId"},
          "--columns: expected three, those of user, item and rating, not 2");
  refused({"--columns=1,2,5"}, "--columns: no column 5, the table has 4");
  refused({"--duplicates=min"}, "--duplicates");
  const Outcome help = run_program({"train", "--help"});
  for (const char* word : {"name:1", "--not-rated", "--duplicates", "last"})
    CHECK_THAT(help.out, ContainsSubstring(word));
}
