// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <programs/report/gnuplot.hpp>
#include <programs/report/plots.hpp>
#include <programs/study/trials.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using programs::Json;
using programs::Plot;
using programs::movielens::test::Outcome;
using programs::movielens::test::run_program;

namespace {

bool has_gnuplot() { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

/// The search path without gnuplot, for a while.
class WithoutGnuplot {
 public:
  WithoutGnuplot() : path_(std::getenv("PATH") ? std::getenv("PATH") : "") {
    ::setenv("PATH", "/nowhere", 1);
  }
  WithoutGnuplot(const WithoutGnuplot&) = delete;
  WithoutGnuplot& operator=(const WithoutGnuplot&) = delete;
  ~WithoutGnuplot() { ::setenv("PATH", path_.c_str(), 1); }

 private:
  std::string path_;
};

Json epoch_of(int epoch, const std::vector<int>& order) {
  return {{"epoch", epoch},
          {"training", {{"loss", 2.0 / epoch}}},
          {"validation",
           {{"loss", 1.5 / epoch},
            {"mse", 2.0},
            {"bce", nullptr},  // nan
            {"auc", 0.75},
            {"load_per_expert", {{0.5, 0.25, 1.25}, {1, 0.5, 0.5}}}}},
          {"permutations", {{order}, {order}}}};
}

std::vector<Json> epochs_with(const std::vector<std::vector<int>>& orders) {
  std::vector<Json> epochs;
  for (std::size_t e = 0; e < orders.size(); ++e)
    epochs.push_back(epoch_of(static_cast<int>(e) + 1, orders[e]));
  return epochs;
}

std::vector<Plot> plots_with(const std::vector<std::vector<int>>& orders) {
  return programs::epoch_plots(epochs_with(orders),
                               {.tasks = {"watched", "rating"},
                                .losses = {{"mse", "MSE", "MSE of the rating"},
                                           {"bce", "cross-entropy", "cross-entropy of watched"}},
                                .loss_units = "",
                                .score = {"auc", "AUC", "AUC of watched"}});
}

std::vector<std::string> names_of(const std::vector<Plot>& plots) {
  std::vector<std::string> names;
  for (const Plot& plot : plots) names.push_back(plot.name);
  return names;
}

}  // namespace

TEST_CASE("epoch_plots: the data of every picture", "[movielens][report]") {
  const auto plots = plots_with({{0, 2, 1}, {1, 2, 0}, {1, 2, 0}});
  // Both gates share one permutation, and so one picture.
  REQUIRE(names_of(plots) == std::vector<std::string>{"loss", "auc", "load_watched", "load_rating",
                                                      "permutation_watched_0"});
  CHECK_THAT(plots[0].data, ContainsSubstring("\n2\t1\t0.75\t2\t-\n"));
  CHECK(plots[2].data == "0.5\t0.5\t0.5\n0.25\t0.25\t0.25\n1.25\t1.25\t1.25\n");
  CHECK_THAT(plots[4].data, ContainsSubstring("0\t0\t0\t0\n0\t1\t1\t0\n0\t2\t2\t0\n"));
  // Slot 1 goes to expert 2 at once, slot 0 to expert 1 in epoch 2; nothing moves in epoch 3.
  CHECK_THAT(plots[4].data, ContainsSubstring("1\t0\t0\t0\n1\t1\t2\t1\n1\t2\t1\t1\n"));
  CHECK_THAT(plots[4].data, ContainsSubstring("2\t0\t1\t1\n2\t1\t2\t0\n2\t2\t0\t1\n"));
  CHECK_THAT(plots[4].commands, ContainsSubstring("at the start") &&
                                    ContainsSubstring("after epoch 2") &&
                                    !ContainsSubstring("after epoch 3"));

  const auto still = plots_with({{0, 1, 2}, {0, 1, 2}});
  CHECK(still.size() == 4);  // no search, no permutation to show
}

TEST_CASE("movielens report: pictures of a training and of a search", "[movielens][report]") {
  const TemporaryDirectory directory;
  const std::string data = (directory.path() / "data").string();
  const std::string out = (directory.path() / "it's out").string();
  REQUIRE(run_program({"synthesize", data, "--users", "30", "--items", "40", "--ratings", "400"})
              .code == 0);
  REQUIRE(run_program({"train", "--data",         data,      "--out",      out, "--gate",
                       "comet", "--local-search", "relaxed", "--experts",  "4", "--embedding-dim",
                       "4",     "--expert-dim",   "6",       "--head-dim", "6", "--epochs",
                       "3",     "--batch-size",   "64",      "--quiet"})
              .code == 0);
  (void)directory.write("space.json", R"({"gate": "hash", "experts": 4, "embedding_dim": 4,
    "expert_dim": 6, "head_dim": 6, "epochs": 1, "batch_size": 64,
    "learning_rate": {"log_uniform": [1e-4, 1e-2]}})");
  REQUIRE(
      run_program({"tune", "--data", data, "--space", (directory.path() / "space.json").string(),
                   "--results", directory.path().string(), "--experiment-name", "search",
                   "--trials", "3", "--quiet"})
          .code == 0);

  const bool drawn = has_gnuplot();
  if (!drawn) WARN("no gnuplot: pictures are not looked at");
  const auto check_pictures = [&](const std::filesystem::path& folder,
                                  const std::vector<std::string>& names) {
    const Outcome outcome = run_program({"report", folder.string()});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    if (drawn) CHECK(outcome.err.empty());
    std::istringstream files(outcome.out);
    for (std::string file; std::getline(files, file);) CHECK(std::filesystem::exists(file));
    const std::string page = content_of(folder / "report" / "report.html");
    CHECK_THAT(page, StartsWith("<!DOCTYPE html>") && EndsWith("</html>\n"));
    for (const std::string& name : names) {
      INFO(name);
      CHECK_THAT(outcome.out, ContainsSubstring("/report/" + name + ".tsv\n"));
      CHECK(std::filesystem::exists(folder / "report" / (name + ".tsv")));
      if (!drawn) continue;
      CHECK(content_of(folder / "report" / (name + ".png")).starts_with("\x89PNG"));
      CHECK_THAT(content_of(folder / "report" / (name + ".svg")), EndsWith("</svg>\n\n"));
    }
  };
  check_pictures(out, {"loss", "auc", "sparsity", "load_watched", "load_rating"});
  check_pictures(directory.path() / "search", {"trials", "pareto", "budget"});
  CHECK_THAT(content_of(directory.path() / "search/report/trials.gp"),
             ContainsSubstring("set xtics 1\n"));
  CHECK_THAT(content_of(directory.path() / "search/report/budget.gp"),
             ContainsSubstring("set xtics (1, 2)\n"));

  // The same curves, by the command of their own.
  const std::string trials = (directory.path() / "search" / "trials.jsonl").string();
  const std::filesystem::path budget = directory.path() / "budget";
  const Outcome outcome = run_program({"budget", trials, "--out", budget.string()});
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("trials    hash\n     1  "));
  CHECK(content_of(budget / "budget.tsv") ==
        content_of(directory.path() / "search" / "report" / "budget.tsv"));
  CHECK(Json::parse(content_of(budget / "budget.json")).at("curves")[0].at("trials") == 3);
  CHECK(run_program({"budget", trials, trials, "--out", budget.string()}).code == 2);
  const Outcome no_resamples = run_program({"budget", trials, "--resamples", "0"});
  CHECK(no_resamples.code == 2);
  for (const std::string target : {"nan", "inf"})
    CHECK_THAT(run_program({"budget", trials, "--target=" + target, "--out", budget.string()}).err,
               ContainsSubstring("--target is " + target + ", expected a finite number"));
  CHECK(no_resamples.err == "movielens: --resamples is 0, expected at least 1\n");
}

TEST_CASE("draw: without gnuplot, one sentence and the data", "[movielens][report]") {
  const TemporaryDirectory directory;
  std::ostringstream out;
  std::ostringstream err;
  {
    const WithoutGnuplot guard;
    programs::draw({{.name = "a", .data = "1\t2\n", .commands = "plot 'a.tsv'"},
                    {.name = "b", .data = "3\t4\n", .commands = "plot 'b.tsv'"}},
                   directory.path(), {.out = out, .err = err});
  }
  CHECK(err.str() ==
        "gnuplot is not installed, so there are no pictures; their data and scripts are in " +
            directory.path().string() + "\n");
  CHECK(content_of(directory.path() / "a.tsv") == "1\t2\n");
  CHECK(content_of(directory.path() / "b.tsv") == "3\t4\n");
  CHECK_THAT(content_of(directory.path() / "b.gp"), ContainsSubstring("plot 'b.tsv'"));
}

TEST_CASE("draw: a picture that gnuplot leaves empty is none", "[movielens][report]") {
  if (!has_gnuplot()) return;
  const TemporaryDirectory directory;
  std::ostringstream out;
  std::ostringstream err;
  // More pixels than its library draws.
  const std::vector<bool> drawn = programs::draw(
      {{.name = "a", .data = "1\t2\n", .commands = "plot 'a.tsv'", .width = 90, .height = 50000},
       {.name = "b", .data = "3\t4\n", .commands = "plot 'b.tsv'"}},
      directory.path(), {.out = out, .err = err});
  CHECK(drawn == std::vector<bool>{false, true});
  CHECK(err.str() == "gnuplot could not draw " + (directory.path() / "a.gp").string() + "\n");
  CHECK_FALSE(std::filesystem::exists(directory.path() / "a.png"));
  CHECK(std::filesystem::file_size(directory.path() / "b.png") > 0);
}

TEST_CASE("movielens report: a folder with nothing to draw", "[movielens][report][error]") {
  const TemporaryDirectory directory;
  const Outcome outcome = run_program({"report", directory.path().string()});
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring("holds no metrics.jsonl, steps.jsonl or trials.jsonl"));
  (void)directory.write("metrics.jsonl", "{\"epoch\": 1}\n");
  const Outcome torn = run_program({"report", directory.path().string()});
  CHECK(torn.code == 2);
  CHECK_THAT(torn.err, ContainsSubstring("metrics.jsonl: is not what a training writes"));
}
