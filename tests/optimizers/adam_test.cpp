// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <vector>

#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// Two tensors of sizes that are not a multiple of anything.
template <class S>
struct Model {
  using Scalar = S;
  Parameter<S> a, b;

  explicit Model(Index cols = 7) : a(3, cols), b(5, 1) {
    a.values = random_matrix<S>(3, cols, 1);
    b.values = random_matrix<S>(5, 1, 2);
  }

  void set_gradients(std::uint64_t seed) {
    a.gradients = random_matrix<S>(a.values.rows(), a.values.cols(), seed);
    b.gradients = random_matrix<S>(5, 1, seed + 1000);
  }

  template <class F>
  void visit_parameters(F&& f) {
    a.visit("a", f);
    b.visit("b", f);
  }
};

/// One parameter by the formula of the paper, in plain scalars.
struct Scalar {
  double p, m = 0, v = 0;
  void step(double g, int t, const AdamOptions& o) {
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double mean = m / (1 - std::pow(o.beta1, t));
    const double square = v / (1 - std::pow(o.beta2, t));
    p -= o.learning_rate * mean / (std::sqrt(square) + o.epsilon);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("Adam follows the formula", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-14 : 1e-6;
  for (const AdamOptions options :
       {AdamOptions{.learning_rate = 0.1},
        AdamOptions{.learning_rate = 0.01, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3},
        AdamOptions{.learning_rate = 0.01, .beta1 = 0, .beta2 = 0}}) {
    Model<S> model;
    Adam<S> adam(options);
    std::vector<Scalar> expected;
    for (const S p : test::values_of(model)) expected.push_back({double(p)});
    for (int t = 1; t <= 5; ++t) {
      model.set_gradients(std::uint64_t(t));
      const auto gradients = test::gradients_of(model);
      adam.step(model);
      CHECK(adam.num_steps() == t);
      const auto values = test::values_of(model);
      double error = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        expected[i].step(double(gradients[i]), t, options);
        error = std::max(error, std::abs(double(values[i]) - expected[i].p));
      }
      CHECK(error <= tolerance);
      for (const S g : test::gradients_of(model)) CHECK(g == S(0));
    }
  }
}

TEST_CASE("a first step of Adam is as long as the learning rate, however small the gradient") {
  Model<double> model;
  const auto before = test::values_of(model);
  model.a.gradients.setConstant(1e-3);
  Adam<double> adam({.learning_rate = 0.25});
  adam.step(model);
  const auto after = test::values_of(model);
  for (std::size_t i = 0; i < 21; ++i) CHECK(before[i] - after[i] == Approx(0.25).epsilon(1e-4));
  for (std::size_t i = 21; i < 26; ++i) CHECK(after[i] == before[i]);  // no gradient, no step
}

TEST_CASE("lazy Adam leaves alone the columns without a gradient, the dense form coasts on") {
  for (const bool lazy : {true, false}) {
    CAPTURE(lazy);
    Model<double> model;
    Adam<double> adam({.learning_rate = 0.1, .lazy = lazy});
    model.set_gradients(1);
    adam.step(model);
    const Matrix<double> after_one = model.a.values;
    model.set_gradients(2);
    model.a.gradients.col(2).setZero();
    model.a.gradients(1, 4) = 0;  // one element of 0 does not make a column of 0
    adam.step(model);
    CHECK((model.a.values.col(2) == after_one.col(2)) == lazy);
    CHECK(model.a.values.col(3) != after_one.col(3));
    CHECK(model.a.values(1, 4) != after_one(1, 4));
  }
}

TEST_CASE("lazy Adam equals the dense form while every column has a gradient") {
  // Long enough for several chunks.
  Model<double> dense_model(12000), lazy_model(12000);
  Adam<double> dense, lazy({.lazy = true});
  for (std::uint64_t t = 0; t < 2; ++t) {
    dense_model.set_gradients(t);
    lazy_model.set_gradients(t);
    dense.step(dense_model);
    lazy.step(lazy_model);
  }
  CHECK(lazy_model.a.values.isApprox(dense_model.a.values, 1e-14));
  CHECK(lazy_model.a.gradients.isZero(0));
}

TEST_CASE("a model that is copied or moved goes on, and so does a copy of the optimizer") {
  Model<double> model;
  Adam<double> adam;
  model.set_gradients(1);
  adam.step(model);
  Model<double> copy = model;
  Adam<double> adam_copy = adam;
  model.set_gradients(2);
  adam.step(model);
  copy.set_gradients(2);
  adam_copy.step(copy);
  CHECK(test::same_bits(test::values_of(copy), test::values_of(model)));
  Model<double> moved = std::move(model);
  moved.set_gradients(3);
  adam.step(moved);
  copy.set_gradients(3);
  adam_copy.step(copy);
  CHECK(test::same_bits(test::values_of(copy), test::values_of(moved)));
}

TEST_CASE("the state of Adam can be taken and given, to resume") {
  Model<double> model;
  Adam<double> adam;
  model.set_gradients(1);
  adam.step(model);
  std::vector<std::vector<double>> state;
  adam.visit_state(
      [&](const char*, auto& values) { state.emplace_back(values.begin(), values.end()); });
  REQUIRE(state.size() == 2);
  CHECK(state[0].size() == 26);

  Model<double> resumed_model = model;
  Adam<double> resumed;
  resumed.set_num_steps(adam.num_steps());
  std::size_t i = 0;
  resumed.visit_state([&](const char*, auto& values) {
    values.assign(state[i].begin(), state[i].end());
    ++i;
  });
  model.set_gradients(2);
  adam.step(model);
  resumed_model.set_gradients(2);
  resumed.step(resumed_model);
  CHECK(test::same_bits(test::values_of(resumed_model), test::values_of(model)));
}

TEST_CASE("Adam refuses a model whose size has changed, and leaves it as it is") {
  Model<double> model;
  Adam<double> adam;
  adam.step(model);
  Model<double> larger(9), smaller(5);
  larger.set_gradients(1);
  smaller.set_gradients(1);
  const auto before = test::values_of(larger);
  const char* message =
      "comet::Adam::step: the model's tensors have changed since the first step, from a on";
  CHECK_THROWS_WITH(adam.step(larger), message);
  CHECK(test::same_bits(test::values_of(larger), before));
  CHECK_THROWS_WITH(adam.step(smaller), message);
  CHECK(adam.num_steps() == 1);
  CHECK_NOTHROW(adam.step(model));
}

TEST_CASE("Adam reports a gradient that is not finite with its tensor and step") {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
    for (const bool lazy : {false, true}) {
      Model<double> model;
      Adam<double> adam({.lazy = lazy});
      model.set_gradients(1);
      adam.step(model);
      model.set_gradients(2);
      model.b.gradients(3, 0) = bad;
      CHECK_THROWS_WITH(adam.step(model),
                        "comet::Adam::step: the gradient of b is not finite, or too large to be "
                        "squared, at step 2");
      for (const double value : test::values_of(model)) CHECK(std::isfinite(value));
    }
  Model<double> model;
  model.a.gradients(0, 0) = std::nan("");
  Adam<double> adam;
  CHECK_THROWS_AS(adam.step(model), std::runtime_error);
}

TEST_CASE("Adam refuses options outside their bounds") {
  using A = Adam<double>;
  CHECK_THROWS_WITH(A({.learning_rate = 0}),
                    "comet::Adam: learning_rate is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(A({.beta1 = 1}), "comet::Adam: beta1 is 1, expected in [0, 1)");
  CHECK_THROWS_WITH(A({.beta2 = -0.5}), "comet::Adam: beta2 is -0.5, expected in [0, 1)");
  CHECK_THROWS_WITH(A({.epsilon = 0}), "comet::Adam: epsilon is 0, expected a finite number > 0");
  A adam;
  CHECK_THROWS_WITH(
      adam.set_learning_rate(-1),
      "comet::Adam::set_learning_rate: learning_rate is -1, expected a finite number > 0");
  adam.set_learning_rate(0.5);
  CHECK(adam.options().learning_rate == 0.5);
}
