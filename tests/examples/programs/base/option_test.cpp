// SPDX-License-Identifier: MIT
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/gates/all.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/kinds.hpp>
#include <programs/base/option.hpp>

#include <support/catch.hpp>

using programs::Json;
using programs::Option;
using programs::OptionTable;

namespace {

struct Settings {
  std::string kind = "a";
  int size = 3;
  std::vector<double> weights = {1, 2};
  std::int64_t seed = 7;
  std::optional<std::int64_t> other_seed;
  int threads = 1;
};

OptionTable table_of(Settings& s) {
  return OptionTable(
      {{Option("kind", &s.kind, "KIND", "which").one_of({"a", "bee"})},
       {Option("size", &s.size, "N", "how many").must_be(programs::a_size()).if_it([&s] {
          return s.kind == "bee";
        }),
        Option("some_weights", &s.weights, "X,X", "how much")
            .list_of(2)
            .must_be(programs::not_negative()),
        Option("seed", &s.seed, "N", "of it").not_searched(),
        Option("other_seed", &s.other_seed, "N", "of it").or_else(s.seed),
        Option("threads", &s.threads, "N", "0 for all").not_saved()}});
}

}  // namespace

TEST_CASE("OptionTable: what is saved is read, as far as it matters", "[movielens][option]") {
  Settings settings;
  const OptionTable table = table_of(settings);
  CHECK(table.to_json().dump() ==
        R"({"kind":"a","some_weights":[1.0,2.0],"seed":7,"other_seed":7})");
  settings.kind = "bee";
  settings.other_seed = 9;
  settings.weights = {0.5, 4};
  const Json json = table.to_json();
  CHECK(json.dump() ==
        R"({"kind":"bee","some_weights":[0.5,4.0],"seed":7,"other_seed":9,"size":3})");
  Settings read;
  table_of(read).read(json);
  CHECK(table_of(read).to_json() == json);
  Json without = json;
  without.erase("size");  // it may not have mattered
  CHECK_NOTHROW(table_of(read).read(without));
  without.erase("seed");
  CHECK_THROWS_AS(table_of(read).read(without), Json::exception);
  without["seed"] = "x";
  CHECK_THROWS_WITH(table_of(read).read(without), "seed is \"x\", expected a whole number");
}

TEST_CASE("OptionTable: a wrong value is named with what is expected",
          "[movielens][option][error]") {
  Settings settings;
  const OptionTable table = table_of(settings);
  CHECK_NOTHROW(table.check());
  settings.weights[1] = -0.5;
  CHECK_THROWS_WITH(table.check(), "--some-weights is -0.5, expected a number >= 0");
  settings.size = 0;
  CHECK_THROWS_WITH(table.check(), "--size is 0, expected from 1 to 1048576");
  CHECK_THROWS_WITH(table.set("kind", "be"), "is \"be\", which is none of them, did you mean bee?");
  CHECK_THROWS_WITH(table.set("some_weights", {1}), "is [1], expected a list of 2 numbers");
  CHECK_THROWS_WITH(table.set("size", 1LL << 31), "is 2147483648, expected a smaller number");
  CHECK_THROWS_WITH(table.set("size", -99999999999), "is -99999999999, expected a larger number");
  CHECK_NOTHROW(table.set("seed", 1LL << 40));
  CHECK_THROWS_WITH(table.set("sise", 1), "there is no option sise");
  CHECK(table.searchable() ==
        std::vector<std::string>{"kind", "size", "some_weights", "other_seed"});
  CHECK(table["some_weights"].flag() == "--some-weights");
}

TEST_CASE("kinds: a gate and a search by name", "[movielens][kinds]") {
  const auto& family = comet::GateFamily<float>::names;
  CHECK(programs::gate_names() == std::vector<std::string>(family.begin(), family.end()));
  CHECK(programs::gate_kind("top_k").has_k);
  CHECK_FALSE(programs::gate_kind("hash").has_k);
  CHECK(programs::gates_with(&programs::GateKind::is_smooth) ==
        "comet, dselect_k and static_dselect_k");
  CHECK_THROWS_AS(programs::gate_kind("hsh"), std::invalid_argument);
  CHECK(programs::gates_with(&programs::GateKind::splits) == "comet and dselect_k");
  CHECK(programs::row_kind("comet").spreads);
  CHECK_FALSE(programs::row_kind("hash").spreads);
  // A network of a program's own.
  CHECK(programs::row_kind("dense").has_k);
  CHECK_FALSE(programs::row_kind("dense").is_smooth);
  CHECK(programs::local_search_of(programs::no_search) == programs::LocalSearch::none);
  CHECK(programs::local_search_of("swap") == programs::LocalSearch::swap);
  CHECK_THROWS_AS(programs::local_search_of("swop"), std::invalid_argument);
}

TEST_CASE("figures: losses add up by their parts and survive JSON", "[movielens][figures]") {
  const programs::TrainingLoss batch{.total = 3, .parts = {{"bce", 1}, {"mse", 2}}, .penalty = 0.5};
  programs::TrainingLoss sum;
  for (int i = 0; i < 2; ++i) sum += batch;
  const Json json = to_json(sum);
  CHECK(json.dump() == R"({"loss":6.0,"bce":2.0,"mse":4.0,"penalty":1.0})");
  programs::TrainingLoss mean = programs::training_loss_from(json);
  mean /= 2;
  CHECK(to_json(mean) == to_json(batch));

  const programs::Figures figures{.loss = 1,
                                  .measures = {{.name = "auc", .value = 0.75}},
                                  .experts_per_sample = 2,
                                  .experts_per_sample_by_task = {2},
                                  .effective_experts = {1.5},
                                  .mutual_information = {0.25},
                                  .load = {{0.5, 0.5}}};
  const programs::Figures read = programs::figures_from(to_json(figures));
  CHECK(to_json(read) == to_json(figures));
  CHECK(read.measure("auc") == 0.75);
  CHECK_THROWS_AS(read.measure("mse"), std::out_of_range);
  CHECK(programs::label_of("auc") == "AUC");
  CHECK(programs::label_of("accuracy") == "accuracy");
}
