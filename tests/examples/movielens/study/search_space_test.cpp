// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

#include <comet/core/random.hpp>

#include <movielens/model/train_options.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/nearest.hpp>
#include <programs/study/search_space.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::RandomKey;
using comet::test::TemporaryDirectory;
using programs::SearchSpace;
using programs::movielens::TrainOptions;

namespace {

SearchSpace read(const std::filesystem::path& file) {
  TrainOptions defaults;
  return SearchSpace::read(file, table_of(defaults));
}

SearchSpace space_of(const std::string& text) {
  const TemporaryDirectory directory;
  return read(directory.write("space.json", text));
}

TrainOptions sample(const SearchSpace& space, TrainOptions options, RandomKey key) {
  table_of(options).set(space.sample(key));
  return options;
}

}  // namespace

TEST_CASE("SearchSpace: every kind of value stays in its bounds and reaches them",
          "[movielens][search_space]") {
  const SearchSpace space = space_of(R"({
    "gate": "dselect_k", "k": 3, "task_weights": {"categorical": [[0.1, 0.9], [0.9, 0.1]]},
    "gamma": {"categorical": [0.01, 10]}, "learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "dropout": {"uniform": [0.25, 0.5]}, "search_epochs": {"integer": [1, 4]}})");
  TrainOptions base;
  base.epochs = 17;
  std::set<double> gammas;
  std::set<double> weights;
  std::set<int> search_epochs;
  std::set<std::int64_t> seeds;
  int low_rates = 0;
  double dropout = 0;
  constexpr int trials = 400;
  for (int trial = 0; trial < trials; ++trial) {
    const TrainOptions o = sample(space, base, RandomKey(3).fold(trial));
    CHECK(o.gate == "dselect_k");
    CHECK(o.k == 3);
    CHECK(o.epochs == 17);
    CHECK((o.learning_rate >= 1e-4 && o.learning_rate < 1e-2));
    CHECK((o.model.dropout >= 0.25 && o.model.dropout < 0.5));
    CHECK(o.task_weights[0] + o.task_weights[1] == Approx(1));
    weights.insert(o.task_weights[0]);
    gammas.insert(o.gamma);
    search_epochs.insert(o.search_epochs);
    seeds.insert(o.seed);
    low_rates += o.learning_rate < 1e-3 ? 1 : 0;
    dropout += o.model.dropout / trials;
  }
  CHECK(gammas == std::set<double>{0.01, 10});
  CHECK(weights == std::set<double>{0.1, 0.9});
  CHECK(search_epochs == std::set<int>{1, 2, 3, 4});
  CHECK(seeds.size() == trials);
  // Half of the rates are below the geometric mean of the bounds: 5 standard deviations.
  CHECK(std::abs(low_rates - trials / 2) < 5 * std::sqrt(trials * 0.25));
  CHECK(std::abs(dropout - 0.375) < 5 * 0.25 / std::sqrt(12.0 * trials));
}

TEST_CASE("SearchSpace: rounding leads no draw beyond its bounds", "[movielens][search_space]") {
  for (const std::string bound : {"1e-3", "0.7", "3e-5", "123.456"}) {
    const SearchSpace space =
        space_of("{\"gamma\": {\"log_uniform\": [" + bound + ", " + bound + "]}}");
    const double gamma = sample(space, {}, RandomKey(1)).gamma;
    CHECK(gamma == std::stod(bound));
  }
}

TEST_CASE("SearchSpace: a trial is a function of seed and number, and of each option alone",
          "[movielens][search_space][law]") {
  const std::string rate = R"("learning_rate": {"log_uniform": [1e-4, 1e-2]})";
  const SearchSpace a = space_of("{" + rate + R"(, "gamma": {"categorical": [1, 2, 3]}})");
  const SearchSpace b = space_of(R"({"gate": "top_k", )" + rate + "}");
  const TrainOptions fifth = sample(a, {}, RandomKey(1).fold(5));
  for (int trial = 0; trial < 5; ++trial) (void)sample(a, {}, RandomKey(1).fold(trial));
  CHECK(to_json(sample(a, {}, RandomKey(1).fold(5))) == to_json(fifth));
  const TrainOptions other = sample(b, {}, RandomKey(1).fold(5));
  CHECK(other.learning_rate == fifth.learning_rate);
  CHECK(other.seed == fifth.seed);
  CHECK(sample(a, {}, RandomKey(2).fold(5)).learning_rate != fifth.learning_rate);
  CHECK(sample(a, {}, RandomKey(1).fold(6)).learning_rate != fifth.learning_rate);
}

TEST_CASE("SearchSpace: what is wrong is refused in one line that names the key",
          "[movielens][search_space][error]") {
  const TemporaryDirectory directory;
  const auto refused = [&](const std::string& text, const std::string& ending) {
    const auto file = directory.write("s.json", text);
    CHECK_THROWS_AS(read(file), programs::FileError);
    CHECK_THROWS_WITH(read(file), file.string() + ": " + ending);
  };
  const std::string kinds = ", expected one of categorical, uniform, log_uniform, integer";
  refused("{", "is not a JSON object");
  refused("[1]", "is not a JSON object");
  constexpr std::size_t deep = 200'000;  // enough for a recursive function to exhaust the stack
  refused("{\"gate\":" + std::string(deep, '[') + std::string(deep, ']') + "}",
          "is not a JSON object");
  refused(R"({"k": 1, "gamma": 2, "k": 1})", "\"k\": is there twice, expected once");
  refused(R"({"k": 1, "gamma": {"uniform": [1, 2], "uniform": [1, 3]}})",
          "\"uniform\": is there twice, expected once");
  refused(R"({"learning_rat": 1})",
          "\"learning_rat\": no such option, did you mean learning_rate?");
  refused(R"({"seed": 1})", "\"seed\": no such option");
  refused(R"({"gamma": {"normal": [0, 1]}})", "\"gamma\": is \"normal\"" + kinds);
  refused(R"({"gamma": {}})", "\"gamma\": is {}" + kinds);
  refused(R"({"gamma": {"uniform": [2, 1]}})",
          "\"gamma\": uniform is [2,1], expected [lowest, highest]");
  refused(R"({"gamma": {"uniform": [1]}})",
          "\"gamma\": uniform is [1], expected [lowest, highest]");
  refused(R"({"gamma": {"log_uniform": [0, 1]}})",
          "\"gamma\": log_uniform is [0,1], expected bounds > 0");
  refused(R"({"gamma": {"uniform": [-1, 1]}})", "\"gamma\": --gamma is -1, expected a number > 0");
  refused(R"({"gamma": {"categorical": []}})",
          "\"gamma\": categorical is [], expected some values");
  refused(R"({"gamma": "wide"})", "\"gamma\": is \"wide\", expected a number");
  refused(R"({"k": 1.5})", "\"k\": is 1.5, expected a whole number");
  refused(R"({"k": {"uniform": [1, 2]}})", "\"k\": is 1.0, expected a whole number");
  refused(R"({"k": {"integer": [1, 2.5]}})", "\"k\": integer is [1,2.5], expected whole numbers");
  // Of an option that need not be whole, too, whose values have no such bounds.
  for (const std::string bounds : {"[0,18446744073709551615]", "[0,9223372036854775807]",
                                   "[-9223372036854775808,0]", "[1,1073741825]"})
    refused(
        R"({"entropy": {"integer": )" + bounds + "}}",
        "\"entropy\": integer is " + bounds + ", expected bounds from -1073741824 to 1073741824");
  refused(R"({"experts": 4, "k": {"integer": [1, 5]}})",
          "\"k\": --k is 5, expected from 1 to --experts = 4");
  refused(R"({"epochs": 99999999999})", "\"epochs\": is 99999999999, expected a smaller number");
  refused(R"({"gate": "commet"})",
          "\"gate\": is \"commet\", which is none of them, did you mean comet?");
  refused(R"({"task_weights": [1, 2, 3]})",
          "\"task_weights\": is [1,2,3], expected a list of 2 numbers");
}

TEST_CASE("SearchSpace: the paper's spaces", "[movielens][search_space]") {
  const std::filesystem::path spaces = std::filesystem::path(__FILE__).parent_path() /
                                       "../../../../examples/movielens/search_spaces";
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(spaces)) {
    if (!entry.is_regular_file()) continue;
    const SearchSpace space = read(entry.path());
    const TrainOptions o = sample(space, {}, RandomKey(1).fold(0));
    CHECK(entry.path().stem().string().starts_with(o.gate));
    CHECK((o.learning_rate >= 5e-5 && o.learning_rate <= 5e-4));
    if (o.local_search != "none") CHECK(o.gamma == 10);
    ++count;
  }
  CHECK(count == 6);
}

TEST_CASE("suggestion: the nearest word, if it is near", "[movielens][nearest]") {
  CHECK(programs::edit_distance("kitten", "sitting") == 3);
  CHECK(programs::edit_distance("", "abc") == 3);
  CHECK(programs::edit_distance("same", "same") == 0);
  CHECK(programs::suggestion("--epoch", {"--entropy", "--epochs"}) == ", did you mean --epochs?");
  CHECK(programs::suggestion("--fly", {"--entropy", "--epochs"}).empty());
}
