// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/metrics/routing.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/training/sparsity_controller.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

static_assert(Stateful<SparsityController>);

namespace {

// Without optimisation a training takes many times as long.
#ifdef NDEBUG
constexpr std::uint64_t num_seeds = 10;
#else
constexpr std::uint64_t num_seeds = 1;
#endif

constexpr Index d = 6, m = 2, n = 8, num_regions = 8, batch_size = 64, num_held_out = 1024;

/// The signs of three features say which of eight linear functions is meant.
struct Planted {
  explicit Planted(RandomKey truth) : functions(m, d * num_regions) {
    truth.fill_uniform(functions, -1, 1);
  }
  void draw(RandomKey key, Matrix<double>& x, Matrix<double>& y) const {
    key.fill_uniform(x, -1, 1);
    for (Index b = 0; b < x.cols(); ++b) {
      const Index region = (x(0, b) > 0) + 2 * (x(1, b) > 0) + 4 * (x(2, b) > 0);
      y.col(b) = functions.middleCols(d * region, d) * x.col(b);
    }
  }
  Matrix<double> functions;
};

struct Outcome {
  double loss = 0;                // held out, at the end
  double experts_per_sample = 0;  // held out, at the named step
};

/// Trains on a planted problem. \param controller  or null
template <class G>
Outcome train(const G& gate, Index steps, Index named_step, SparsityController* controller,
              RandomKey key) {
  MoeLayer layer(gate, make_experts<DenseExpert<double>>(
                           n, {.input_dim = d, .output_dim = m, .activation = Activation::identity},
                           key.fold(1)));
  const Planted planted(key.fold(2));
  Matrix<double> held_out(d, num_held_out), expected(m, num_held_out);
  planted.draw(key.fold(3), held_out, expected);
  Pass pass(layer);
  Adam adam(layer, {.learning_rate = 0.01});
  Matrix<double> x(d, batch_size), target(m, batch_size), y(m, batch_size), dy(m, batch_size);
  Matrix<double> predicted(m, num_held_out), unused(m, num_held_out);
  Outcome outcome;
  for (Index step = 0; step < steps; ++step) {
    planted.draw(key.fold(4).fold(step), x, target);
    layer.forward(x, y, key.fold(6).fold(step), pass);
    mean_squared_error(y, target, dy);
    layer.backward(x, dy, pass);
    adam.step(layer, pass);
    if (controller != nullptr)
      controller->end_of_step(layer.gates()[0],
                              summarize(pass.workspace.routing(), n).experts_per_sample);
    if (step + 1 == named_step) {
      layer.predict(held_out, predicted, pass);
      outcome.experts_per_sample = summarize(pass.workspace.routing(), n).experts_per_sample;
    }
  }
  layer.predict(held_out, predicted, pass);
  outcome.loss = mean_squared_error(predicted, expected, unused);
  return outcome;
}

}  // namespace

TEMPLATE_TEST_CASE("rows have k experts by the step that was named, from any start", "",
                   CometGate<double>, DSelectKGate<double>) {
  const Index sparse_by = 500;
  for (const Index k : {1, 2})
    for (const double gamma : {0.3, 1.0, 10.0})
      for (const double split_scale : {0.0, 0.5})
        for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) {
          if (seed > 3 && (k == 1 || gamma != 1.0)) continue;  // ten for the middle of the range
          CAPTURE(k, gamma, split_scale, seed);
          const TestType gate({.input_dim = d,
                               .num_experts = n,
                               .k = k,
                               .gamma = gamma,
                               .split_scale = split_scale},
                              RandomKey(seed));
          SparsityController controller({.k = double(k), .sparse_by = sparse_by, .gamma = gamma});
          const auto outcome = train(gate, sparse_by, sparse_by, &controller, RandomKey(seed));
          CHECK(outcome.experts_per_sample <= 1.05 * double(k));
          CHECK(outcome.experts_per_sample >= 0.95 * double(k));
        }
}

#ifdef NDEBUG  // means of ten trainings
TEMPLATE_TEST_CASE(
    "a controlled training loses little to one with a constant entropy penalty and more experts",
    "", CometGate<double>, DSelectKGate<double>) {
  double controlled = 0, constant = 0, experts = 0;
  for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) {
    const TestType gate({.input_dim = d, .num_experts = n}, RandomKey(seed));
    SparsityController controller({.k = 2, .sparse_by = 1000});
    controlled += train(gate, 2000, 1000, &controller, RandomKey(seed)).loss / double(num_seeds);
    const TestType alone({.input_dim = d, .num_experts = n, .entropy = 0.05}, RandomKey(seed));
    const auto outcome = train(alone, 2000, 1000, nullptr, RandomKey(seed));
    constant += outcome.loss / double(num_seeds);
    experts += outcome.experts_per_sample / double(num_seeds);
  }
  CAPTURE(controlled, constant, experts);
  CHECK(experts > 2.1);  // which has more experts for it
  CHECK(controlled <= 1.2 * constant);
}
#endif

TEST_CASE("the controller's path is straight in the logarithm and ends before the named step") {
  SparsityController controller({.k = 2, .sparse_by = 100});
  for (int step = 0; step < 35; ++step) controller.see(8);
  CHECK(controller.target() == Approx(4));  // halfway to 2, at half of 70 steps
  for (int step = 35; step < 70; ++step) controller.see(8);
  CHECK(controller.target() == Approx(2));
  controller.see(8);
  CHECK(controller.target() == Approx(2));
  // A gate that has fewer than k at first is to have k at once.
  SparsityController short_rows({.k = 2, .sparse_by = 100});
  short_rows.see(1.5);
  CHECK(short_rows.target() == Approx(2));
}

TEST_CASE("the controller narrows while rows are long, gives way while they are short") {
  SparsityController controller(
      {.k = 2, .sparse_by = 100, .gamma = 3, .entropy = 0.01, .max_entropy = 0.02});
  CHECK(controller.settings().gamma == 3.0);
  CHECK(controller.settings().entropy == 0.01);
  CHECK_FALSE(controller.settings().spread.has_value());
  for (int step = 0; step < 100; ++step) controller.see(8);
  const double narrow = controller.gamma();
  CHECK(narrow < 1);
  CHECK(controller.entropy() == 0.02);  // no more than it may be
  for (int step = 0; step < 10; ++step) controller.see(2);
  const double held = controller.gamma();
  for (int step = 0; step < 50; ++step) controller.see(2);
  CHECK(controller.gamma() == held);  // as wished: nothing changes
  for (int step = 0; step < 20; ++step) controller.see(1);
  CHECK(controller.gamma() > held);
  for (int step = 0; step < 1000; ++step) controller.see(1);
  CHECK(controller.gamma() == 3);
  CHECK(controller.entropy() == 0.01);
  for (int step = 0; step < 10'000; ++step) controller.see(8);
  CHECK(controller.gamma() > 0);
  CHECK(std::isfinite(controller.gamma()));
}

TEST_CASE("a controller sets the gate it is given, and goes on from a saved state to the bit") {
  auto gate = make_gate<float>("dselect_k", {.input_dim = 3, .num_experts = 4, .spread = 0.5},
                               RandomKey(1));
  const SparsityControllerOptions options{.k = 1.5, .sparse_by = 40};
  SparsityController controller(options);
  const auto experts = [](int step) { return 1 + 3 / (1 + 0.05 * step) + 0.2 * (step % 3); };
  for (int step = 0; step < 20; ++step) controller.end_of_step(gate, experts(step));
  const auto* inside = gate.get_if<DSelectKGate<float>>();
  CHECK(inside->options().gamma == controller.gamma());
  CHECK(inside->options().entropy == controller.entropy());
  CHECK(inside->options().spread == 0.5);

  SparsityController resumed(options);
  resumed.restored();  // before the first step, too
  std::vector<double> numbers;
  std::vector<std::int64_t> counts;
  std::as_const(controller).visit_state([&]<class T>(const ParameterName&, std::span<T> values) {
    for (const auto value : values)
      if constexpr (std::is_same_v<std::remove_const_t<T>, double>) {
        numbers.push_back(value);
      } else {
        counts.push_back(value);
      }
  });
  resumed.visit_state([&]<class T>(const ParameterName&, std::span<T> values) {
    if constexpr (std::is_same_v<T, double>) {
      std::copy(numbers.begin(), numbers.end(), values.begin());
    } else {
      std::copy(counts.begin(), counts.end(), values.begin());
    }
  });
  resumed.restored();
  CHECK(resumed.num_steps() == 20);
  for (int step = 20; step < 60; ++step) {
    controller.see(experts(step));
    resumed.see(experts(step));
    CHECK(resumed.gamma() == controller.gamma());
    CHECK(resumed.entropy() == controller.entropy());
    CHECK(resumed.smoothed() == controller.smoothed());
    CHECK(resumed.target() == controller.target());
  }
  numbers[0] = std::nan("");
  resumed.visit_state([&]<class T>(const ParameterName&, std::span<T> values) {
    if constexpr (std::is_same_v<T, double>)
      std::copy(numbers.begin(), numbers.end(), values.begin());
  });
  CHECK_THROWS_WITH(
      resumed.restored(),
      "comet::SparsityController::restored: gamma is nan, expected a finite number > 0");
}

TEST_CASE("a controller refuses what it cannot work with") {
  const auto make = [](SparsityControllerOptions options) { return SparsityController(options); };
  CHECK_THROWS_WITH(make({.k = 0.5, .sparse_by = 10}),
                    "comet::SparsityController: k is 0.5, expected at least 1");
  CHECK_THROWS_WITH(make({.k = 2}),
                    "comet::SparsityController: sparse_by is 0, expected at least 1");
  CHECK_THROWS_AS(make({.k = std::nan(""), .sparse_by = 10}), std::invalid_argument);
  CHECK_THROWS_AS(make({.k = 2, .sparse_by = 10, .gamma = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.k = 2, .sparse_by = 10, .entropy = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.k = 2, .sparse_by = 10, .tolerance = 0}), std::invalid_argument);
  CHECK_THROWS_WITH(make({.k = 2, .sparse_by = 10, .entropy = 0.2}),
                    "comet::SparsityController: max_entropy is 0.1, expected at least entropy");
  SparsityController controller({.k = 2, .sparse_by = 10});
  CHECK_THROWS_AS(controller.see(0), std::invalid_argument);
  CHECK_THROWS_AS(controller.see(std::numeric_limits<double>::infinity()), std::invalid_argument);
  CHECK(controller.num_steps() == 0);
  auto top = make_gate<double>("top_k", {.input_dim = 3, .num_experts = 4}, RandomKey(1));
  CHECK_THROWS_WITH(
      controller.end_of_step(top, 2),
      "comet::AnyGate::anneal: a top_k gate has no gamma and no entropy penalty to anneal");
}
