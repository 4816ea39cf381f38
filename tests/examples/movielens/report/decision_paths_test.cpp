// SPDX-License-Identifier: MIT
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>

using namespace programs::movielens::test;
using Json = nlohmann::json;

namespace {

Json paths_in(const std::filesystem::path& folder) {
  return Json::parse(content_of(folder / "decision_paths.json"));
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string page_of(const std::filesystem::path& folder) {
  const Outcome outcome = run_program({"report", folder.string()});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  return content_of(folder / "report" / "report.html");
}

}  // namespace

TEST_CASE("movielens train: the way of a few ratings by title, and its page",
          "[movielens][report]") {
  const SmallTraining training;
  const auto folder = training.out("out");
  REQUIRE(training.train("out", {"--gate=comet", "--epochs=8", "--split-scale=0.5"}).code == 0);
  const Json rows = paths_in(folder);
  REQUIRE(rows.size() == 4);
  std::set<std::string> names;
  for (const Json& row : rows) {
    const std::string name = row["row"];
    INFO(name);
    names.insert(name.substr(name.find(", ")));
    CHECK_THAT(name, StartsWith("user ") && ContainsSubstring(", Synthetic Movie, No. ") &&
                         ContainsSubstring("), rated "));
    REQUIRE(row["gates"].size() == 2);
    for (const Json& gate : row["gates"]) {
      std::map<int, double> by_leaves;
      double reached = 0;
      for (const Json& node : gate["nodes"]) {
        CHECK(node["reach"] >= 0.01);
        if (!node.contains("weight")) continue;
        by_leaves[node["expert"]] += node["weight"].get<double>();
        reached += node["reach"].get<double>();
      }
      // Of two trees, but for leaves of less than a hundredth.
      CHECK(reached == Approx(2).margin(0.1));
      double sum = 0;
      for (const Json& entry : gate["experts"]) {
        sum += entry["weight"].get<double>();
        CHECK(by_leaves[entry["expert"]] == Approx(entry["weight"].get<double>()).margin(0.05));
      }
      CHECK(sum == Approx(1));
    }
  }
  CHECK(names.size() == 4);  // a film each
  CHECK_FALSE(training.result("out").contains("gates"));

  std::string page = page_of(folder);
  CHECK(count_of(page, "<svg") == 8);
  CHECK_THAT(page, ContainsSubstring("<h3>" + rows[0]["row"].get<std::string>() + "</h3>") &&
                       ContainsSubstring("<p>watched: expert ") &&
                       ContainsSubstring("<p>rating: expert "));

  // Another training in the same folder, whose gate compares.
  REQUIRE(training.train("out", {"--gate=top_k"}).code == 0);
  CHECK(paths_in(folder)[0]["gates"][0]["choices"].size() == 2);
  page = page_of(folder);
  CHECK(count_of(page, "<svg") == 0);
  CHECK_THAT(page, ContainsSubstring("<th>ahead of</th>"));

  // One that cannot say it leaves nothing, nor what was there before.
  REQUIRE(training.train("out", {"--gate=hash"}).code == 0);
  CHECK_FALSE(std::filesystem::exists(folder / "decision_paths.json"));
  CHECK(count_of(page_of(folder), "The way of a few rows") == 0);
}

TEST_CASE("movielens train: films without a title, and titles that cannot be read",
          "[movielens][report]") {
  const SmallTraining training;
  const auto titles = training.out("data") / "movies.csv";
  std::ofstream(titles) << "movieId,title,title\n1,a,b\n";
  REQUIRE(training.train("out", {"--gate=comet"}).code == 0);
  const Json unread = paths_in(training.out("out"));
  std::filesystem::remove(titles);
  REQUIRE(training.train("out", {"--gate=comet"}).code == 0);
  CHECK(paths_in(training.out("out")) == unread);
  CHECK_THAT(unread[0]["row"].get<std::string>(), ContainsSubstring(", item "));
}
