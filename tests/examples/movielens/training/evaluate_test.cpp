// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>
#include <programs/base/kinds.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::movielens::test;
using Json = nlohmann::json;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("movielens evaluate: the figures of the training, from its file alone",
          "[movielens][evaluate]") {
  const SmallTraining training;
  for (const std::string& gate : programs::gate_names())
    for (const std::string search : {gate == "hash" ? "relaxed" : "swap"}) {
      INFO(gate << ' ' << search);
      const std::string name = gate + "-" + search;
      REQUIRE(training
                  .train(name, {"--gate=" + gate, "--local-search=" + search, "--seed=3",
                                "--split-seed=4"})
                  .code == 0);
      const Arguments evaluate = {"evaluate", "--model", training.model(name), "--data",
                                  training.data()};
      Arguments json = evaluate;
      json.push_back("--json");
      const Outcome outcome = run_program(json);
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      const Json figures = Json::parse(outcome.out);
      const Json expected = training.result(name).at("test");
      for (const auto& [key, value] : expected.items()) {
        INFO(key);
        CHECK(figures.at(key) == value);
      }
      CHECK(figures.at("split") == "test");
      CHECK(figures.at("rows") == training.result(name).at("rows").at("test"));
      std::size_t rows = 0;
      double last = 0;
      for (const Json& bin : figures.at("calibration")) {
        rows += bin.at("rows").get<std::size_t>();
        CHECK(bin.at("predicted") >= last);
        last = bin.at("predicted");
      }
      CHECK(figures.at("calibration").size() == 10);
      CHECK(figures.at("rows") == rows);
      CHECK(figures.at("accuracy") <= 1);
      for (const Json& effective : figures.at("effective_experts")) {
        CHECK(effective.get<double>() > 1 - 1e-9);
        CHECK(effective.get<double>() < 5 + 1e-9);
      }
      for (const Json& share : figures.at("coverage"))
        CHECK(share.get<double>() * 5 == Approx(std::round(share.get<double>() * 5)));
      json.push_back("--split=validation");
      CHECK(Json::parse(run_program(json).out).at("rows") ==
            training.result(name).at("rows").at("validation"));

      const std::string text = run_program(evaluate).out;
      CHECK_THAT(text, StartsWith("data: synthetic, NOT MovieLens"));
      const std::size_t notes = text.find("\nnote ") == std::string::npos ? 0 : 1;
      CHECK(lines_of(text).size() == 2 + 8 + notes + 1 + 11 + 1 + 6);
    }
}

TEST_CASE("movielens evaluate: what is lost by weights in fewer bits", "[movielens][evaluate]") {
  const SmallTraining training;
  REQUIRE(training.train("out").code == 0);
  const auto loss_with = [&](const char* storage) {
    const Outcome outcome = run_program({"evaluate", "--model", training.model("out"), "--data",
                                         training.data(), "--json", "--storage", storage});
    const Json figures = Json::parse(outcome.out);
    CHECK(figures.at("storage") == storage);
    CHECK(figures.at("experts_per_sample") ==
          training.result("out").at("test").at("experts_per_sample"));
    return figures.at("loss").get<double>();
  };
  const double full = loss_with("full");
  CHECK(full == training.result("out").at("test").at("loss"));
  for (const char* storage : {"bf16", "int8"}) {
    CHECK(loss_with(storage) != full);
    CHECK(loss_with(storage) == Approx(full).epsilon(0.01));
  }
}

TEST_CASE("movielens evaluate and recommend: what they refuse", "[movielens][evaluate][error]") {
  const SmallTraining training;
  REQUIRE(training.train("out").code == 0);
  const auto refused = [&](const Arguments& arguments, const std::string& reason) {
    const Outcome outcome = run_program(arguments);
    CHECK(outcome.code == 2);
    CHECK(lines_of(outcome.err).size() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
  };
  const std::string data = "--data=" + training.data();
  const std::string content = content_of(training.model("out"));
  const auto changed = [&](const std::string& from, const std::string& to) {
    REQUIRE(from.size() == to.size());
    const std::size_t place = content.find(from);
    REQUIRE(place != std::string::npos);
    std::string copy = content;
    copy.replace(place, from.size(), to);
    const auto path = training.out("changed");
    std::ofstream(path, std::ios::binary) << copy;
    return "--model=" + path.string();
  };
  refused({"evaluate", "--model=none", data}, "none: cannot be read");
  refused({"evaluate", "--model=" + training.data() + "/ratings.csv", data}, "is no safetensors");
  // Numbers that the tensors contradict are not believed.
  refused({"evaluate", changed("experts\\\":5", "experts\\\":9"), data},
          "tensor \"experts.5.weight\" is missing");
  refused({"evaluate", changed("\\\"users\\\":30", "\\\"users\\\":90"), data},
          "tensor \"user_embedding.weight\" does not have the shape");
  refused({"evaluate", changed("\\\"k\\\":2", "\\\"k\\\":7"), data}, "--k is 7");
  refused({"evaluate", changed("[[0,1,2", "[[0,0,2"), data}, "description of the model is damaged");
  refused({"evaluate", changed("comet_format\":\"1", "comet_format\":\"2"), data},
          "written by another version");
  const std::string other = training.out("other").string();
  REQUIRE(run_program({"synthesize", other, "--users=31", "--items=40", "--ratings=400"}).code ==
          0);
  refused({"evaluate", "--model=" + training.model("out"), "--data=" + other},
          "is a model of other users or items");
  refused({"recommend", "--model=" + training.model("out"), data, "--user=1", "--top=0"},
          "--top is 0, expected at least 1");
  const std::string broken = training.out("broken").string();
  for (const Arguments& arguments : {Arguments{"evaluate", "--model=" + broken, data},
                                     Arguments{"recommend", "--model=" + broken, data, "--user=1"}})
    programs::test::check_nan_model_refused<Program>(training.model("out"), broken, arguments);
}

TEST_CASE("movielens evaluate: other ratings than those of the training, with a note",
          "[movielens][evaluate]") {
  const SmallTraining training;
  REQUIRE(training.train("out").code == 0);
  const Arguments arguments = {"evaluate", "--model=" + training.model("out"),
                               "--data=" + training.data(), "--json"};
  const Outcome same = run_program(arguments);
  CHECK(same.err.empty());
  CHECK(Json::parse(same.out).at("is_of_training") == true);
  const std::string file = training.data() + "/ratings.csv";
  std::string ratings = content_of(file);
  ratings.replace(ratings.find(".0,"), 2, ".5");
  std::ofstream(file) << ratings;
  const Outcome changed = run_program(arguments);
  CHECK(changed.code == 0);
  CHECK(lines_of(changed.err).size() == 1);
  CHECK_THAT(changed.err, ContainsSubstring(" is not what the model was trained on"));
  CHECK(Json::parse(changed.out).at("is_of_training") == false);
}

TEST_CASE("movielens recommend: what the user has not rated, best first, and why",
          "[movielens][recommend]") {
  const SmallTraining training;
  const programs::movielens::Ratings ratings = programs::movielens::read_ratings(training.data());
  const programs::movielens::Titles titles = programs::movielens::read_titles(training.data());
  for (const std::string gate : {"comet", "hash"}) {
    REQUIRE(training.train(gate, {"--gate=" + gate}).code == 0);
    Arguments arguments = {"recommend",
                           "--model=" + training.model(gate),
                           "--data=" + training.data(),
                           "--user=" + ratings.user_ids[4],
                           "--min-ratings=0",
                           "--top=1000"};
    const Outcome all = run_program(arguments);
    INFO(all.err);
    REQUIRE(all.code == 0);
    const std::vector<std::string> lines = lines_of(all.out);
    const auto rated = ratings.items_of(4);
    REQUIRE(lines.size() == 1 + std::size_t(ratings.num_items()) - rated.size());
    for (const std::int32_t item : rated)
      CHECK_THAT(all.out + "\n",
                 !ContainsSubstring(titles.at(ratings.item_ids[std::size_t(item)]) + "\n"));
    for (std::size_t i = 1; i < lines.size(); ++i) {
      std::istringstream row(lines[i]);
      double score = 0, stars = 0, watched = 0;
      std::string percent;
      row >> score >> stars >> watched >> percent;
      CHECK(score == Approx(stars * watched / 100).margin(0.02));
      if (i > 1) CHECK(score <= std::stod(lines[i - 1]));
    }

    arguments.back() = "--top=2";
    const std::string two = run_program(arguments).out;
    CHECK(all.out.starts_with(two));
    CHECK(lines_of(two).size() == 3);
    arguments.push_back("--why");
    const auto short_lines = lines_of(run_program(arguments).out);
    REQUIRE(short_lines.size() == 1 + 2 * (1 + 3));
    CHECK_THAT(short_lines[2], StartsWith("    watched: expert "));
    CHECK_THAT(short_lines[3], StartsWith("    stars: expert "));
    CHECK_THAT(short_lines[4], StartsWith("    apart: ") && ContainsSubstring("(others "));
    CHECK((short_lines[4].find("split") != std::string::npos) == (gate == "comet"));
    arguments.back() = "--why=full";
    const std::string why = run_program(arguments).out;
    CHECK_THAT(
        why, ContainsSubstring("    watched: expert ") && ContainsSubstring("    stars: expert "));
    const bool has_trees =
        why.find("    tree 1\n") != std::string::npos && why.find("split 0: ") != std::string::npos;
    CHECK(has_trees == (gate == "comet"));
  }
}

TEST_CASE("movielens recommend: titles with few ratings are left out", "[movielens][recommend]") {
  const SmallTraining training;
  REQUIRE(training.train("out").code == 0);
  const Arguments arguments = {"recommend", "--model=" + training.model("out"),
                               "--data=" + training.data(), "--user=5", "--top=1000"};
  const auto with = [&](const std::string& option) {
    Arguments all = arguments;
    all.push_back(option);
    return run_program(all);
  };
  const Outcome few = with("--min-ratings=12");
  REQUIRE(few.code == 0);
  CHECK(lines_of(few.out).size() < lines_of(with("--min-ratings=0").out).size());
  for (const std::string& line : lines_of(few.out)) {
    std::istringstream row(line);
    std::string score, stars, watched, percent, ratings;
    row >> score >> stars >> watched >> percent >> ratings;
    if (score != "score") CHECK(std::stoi(ratings) >= 12);
  }
  CHECK_THAT(with("--min-ratings=1000").err, ContainsSubstring("1000 ratings or more"));
  CHECK(with("--min-ratings=-1").code == 2);
}

TEST_CASE("movielens recommend: for a user it does not know, what is rated most often",
          "[movielens][recommend]") {
  const SmallTraining training;
  REQUIRE(training.train("out").code == 0);
  const Outcome outcome = run_program({"recommend", "--model=" + training.model("out"),
                                       "--data=" + training.data(), "--user=nobody", "--top=3"});
  CHECK(outcome.code == 2);
  CHECK(outcome.err == "movielens: --user is nobody, not one of the 30 users of " +
                           training.model("out") +
                           "; what is rated most often is offered instead\n");
  const auto lines = lines_of(outcome.out);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "What is rated most often:");
  const programs::movielens::Ratings ratings = programs::movielens::read_ratings(training.data());
  std::vector<int> count(std::size_t(ratings.num_items()), 0);
  for (const std::int32_t item : ratings.item) ++count[std::size_t(item)];
  CHECK(std::stoi(lines[1]) == *std::max_element(count.begin(), count.end()));
  CHECK(std::stoi(lines[2]) <= std::stoi(lines[1]));
}

TEST_CASE("movielens train: progress says how much time is left, but not at the end",
          "[movielens][train]") {
  const SmallTraining training;
  Arguments arguments = training.arguments("out");
  arguments.pop_back();  // --quiet
  const auto lines = lines_of(run_program(arguments).err);
  REQUIRE(lines.size() >= 2 + 3);  // a note may follow
  CHECK_THAT(lines[2],
             StartsWith("epoch 1/3") && ContainsSubstring("  about ") && EndsWith(" left"));
  CHECK_THAT(lines[4], StartsWith("epoch 3/3") && !ContainsSubstring(" left"));
}
