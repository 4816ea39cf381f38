// SPDX-License-Identifier: MIT
#include <cmath>
#include <filesystem>
#include <limits>

#include <comet/io/safetensors.hpp>
#include <comet/layers/dense.hpp>
#include <comet/training/early_stopping.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

static_assert(Stateful<EarlyStopping<float>>);

namespace {

/// A layer whose weights tell which of several it is.
Dense<float> numbered(float number, Index inputs = 3) {
  Dense<float> layer({.input_dim = inputs, .output_dim = 2}, RandomKey(1));
  test::parameter(layer, "weight").setConstant(number);
  return layer;
}

}  // namespace

TEST_CASE("early stopping keeps the best weights, and stops when patience is over") {
  Dense<float> model = numbered(0);
  EarlyStopping best(model, {.patience = 2});
  CHECK(best.best_loss() == std::numeric_limits<double>::infinity());
  const std::vector<double> losses{3, 2, 2.5, 1, 1, 4};
  const std::vector<bool> better{true, true, false, true, false, false};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    CHECK_FALSE(best.reached());
    CHECK(best.see(losses[i], numbered(float(i))) == better[i]);
  }
  CHECK(best.reached());
  CHECK(best.best_loss() == 1);
  CHECK(best.num_seen() == 6);
  CHECK(best.num_since_best() == 2);
  best.restore(model);
  CHECK(test::same_bits(test::values_of(model), test::values_of(numbered(3))));
}

TEST_CASE("an improvement can be asked to be worth it") {
  const auto model = numbered(0);
  EarlyStopping best(model, {.patience = 1, .min_improvement = 0.5});
  CHECK(best.see(2, model));
  CHECK_FALSE(best.see(1.75, model));
  CHECK(best.see(1.25, model));
  CHECK(best.best_loss() == 1.25);
}

TEST_CASE("early stopping goes on from a file, and allocates nothing") {
  const auto file = std::filesystem::temp_directory_path() / "comet_early_stopping.safetensors";
  Dense<float> model = numbered(7), other = numbered(8);
  EarlyStopping best(model, {.patience = 2}), resumed(other, {.patience = 2});
  save_tensors(file, state_tensors(best, "best."));
  load_state(TensorFile(file), resumed, "best.");  // before the first loss
  CHECK(resumed.num_seen() == 0);
  best.see(1, model);
  best.see(2, other);
  save_tensors(file, state_tensors(best, "best."));
  load_state(TensorFile(file), resumed, "best.");
  std::filesystem::remove(file);
  CHECK(resumed.best_loss() == 1);
  CHECK_FALSE(resumed.see(3, other));
  CHECK(resumed.reached());
  resumed.restore(other);
  CHECK(test::same_bits(test::values_of(other), test::values_of(model)));
  if (test::can_count_allocations) CHECK(test::count_allocations([&] { best.see(0, model); }) == 0);
}

TEST_CASE("early stopping refuses what it cannot keep") {
  auto model = numbered(0), other = numbered(0, 4);
  CHECK_THROWS_WITH(EarlyStopping(model, {.patience = 0}),
                    "comet::EarlyStopping: patience is 0, expected at least 1");
  CHECK_THROWS_AS(EarlyStopping(model, {.min_improvement = -1}), std::invalid_argument);
  EarlyStopping best(model);
  CHECK_THROWS_WITH(best.restore(model), "comet::EarlyStopping::restore: it has seen no loss");
  CHECK_THROWS_WITH(best.see(1, other),
                    "comet::EarlyStopping::see: number of parameters is 10, expected that at "
                    "construction = 8");
  CHECK_THROWS_AS(best.see(std::nan(""), model), NotFinite);
  CHECK(best.num_seen() == 0);
  for_each_parameter(other = model,
                     [](const ParameterName&, auto& values) { values(0, 0) = std::nanf(""); });
  CHECK_THROWS_WITH(best.see(1, other), StartsWith("comet::EarlyStopping::see: ") &&
                                            ContainsSubstring("(0, 0) is nan"));
  CHECK(best.num_seen() == 0);
  EarlyStopping kept(model);
  CHECK(kept.see(1, model));
  CHECK_FALSE(kept.see(2, other));  // would not be kept
  const auto give = [&](std::int64_t seen, std::int64_t since, double loss, float weight) {
    best.visit_state([&](const ParameterName& name, auto values) {
      using T = typename decltype(values)::element_type;
      if (name.str() == "best_loss") values[0] = T(loss);
      if (name.str() == "weights") values[0] = T(weight);
      if (name.str() != "counts") return;
      values[0] = T(seen);
      values[1] = T(since);
    });
    best.restored();
  };
  CHECK_NOTHROW(give(3, 2, 1, 1));
  CHECK_THROWS_AS(give(-1, 0, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(give(3, 3, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(give(3, 0, std::nan(""), 1), std::invalid_argument);
  CHECK_THROWS_AS(give(1, 0, std::nan(""), 1), std::invalid_argument);
  CHECK_THROWS_AS(give(3, 0, 1, std::nanf("")), std::invalid_argument);
}
