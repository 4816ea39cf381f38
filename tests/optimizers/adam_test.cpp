// SPDX-License-Identifier: MIT
#include <cmath>
#include <concepts>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/layers/dense.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// Two tensors of sizes that are not a multiple of anything, and their gradients.
template <class S>
struct Model {
  using Scalar = S;
  Parameter<S> a, b;
  Gradients<S> gradients;

  explicit Model(Index cols = 7) : a(3, cols), b({5}) {
    a = random_matrix<S>(3, cols, 1);
    b = random_matrix<S>(5, 1, 2);
    gradients = Gradients<S>(*this);
  }

  void set_gradients(std::uint64_t seed) {
    gradients[0] = random_matrix<S>(a.rows(), a.cols(), seed);
    gradients[1] = random_matrix<S>(5, 1, seed + 1000);
  }

  template <class F>
  void visit(F&& f) const {
    f("a", a);
    f("b", b);
  }
};

static_assert(ModelOptimizer<Adam<double>, Model<double>>);
static_assert(Stateful<Adam<double>>);

/// One parameter by the formula of the paper, in plain scalars.
struct Scalar {
  double p, m = 0, v = 0;
  void step(double g, int t, const AdamOptions& o) {
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double mean = m / (1 - std::pow(o.beta1, t));
    const double square = v / (1 - std::pow(o.beta2, t));
    p *= 1 - o.learning_rate(t) * o.weight_decay.value_or(0);
    p -= o.learning_rate(t) * mean / (std::sqrt(square) + o.epsilon);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("Adam follows the formula", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-14 : 1e-6;
  for (const AdamOptions& options :
       {AdamOptions{.learning_rate = 0.1}, AdamOptions{.learning_rate = 0.1, .weight_decay = 0.3},
        AdamOptions{.learning_rate = Schedule::warm_up(2).then_linear(0.2, 4),
        .weight_decay = 0.01},
        AdamOptions{.learning_rate = 0.01, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3},
        AdamOptions{.learning_rate = 0.01, .beta1 = 0, .beta2 = 0}}) {
    Model<S> model;
    Adam adam(model, options);
    std::vector<Scalar> expected;
    for (const S p : test::values_of(model)) expected.push_back({double(p)});
    for (int t = 1; t <= 5; ++t) {
      model.set_gradients(std::uint64_t(t));
      const auto gradients = test::values_of(model.gradients);
      adam.step(model, model.gradients);
      CHECK(adam.num_steps() == t);
      const auto values = test::values_of(model);
      double error = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        expected[i].step(double(gradients[i]), t, options);
        error = std::max(error, std::abs(double(values[i]) - expected[i].p));
      }
      CHECK(error <= tolerance);
      for (const S g : test::values_of(model.gradients)) CHECK(g == S(0));
    }
  }
}

TEMPLATE_TEST_CASE("Adam's moments of what has no gradient any more end at 0, never denormal", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  Model<S> model;
  Adam adam(model, {.learning_rate = 0.1, .beta1 = 0.6, .beta2 = 0.99});
  const auto count = [&](auto is) {
    Index result = 0;
    adam.visit_state([&](const auto& /*name*/, auto values) {
      if constexpr (std::same_as<typename decltype(values)::value_type, S>)
        for (const S value : values) result += is(value);
    });
    return result;
  };
  const auto is_left = [](S value) { return value != S(0); };
  Index denormal = 0;
  int step = 0;
  for (; step < 100 || (step < 100'000 && count(is_left) > 0); ++step) {
    if (step < 3) model.set_gradients(std::uint64_t(step));
    adam.step(model, model.gradients);
    denormal += count([](S value) { return std::fpclassify(value) == FP_SUBNORMAL; });
    if (step == 90) REQUIRE(count(is_left) == 2 * 26);
  }
  CHECK(denormal == 0);
  CHECK(step < 100'000);
  CHECK(model.a.allFinite());
}

TEST_CASE("Adam learns by gradients as small as their squares' root can be") {
  Model<float> model;
  const Matrix<float> before = model.a;
  Adam adam(model, {.learning_rate = 0.1, .epsilon = 1e-30});
  for (int step = 1; step <= 64; ++step) {
    model.gradients[0].setConstant(1e-15F);  // m is above where it ends, v far below that
    adam.step(model, model.gradients);
  }
  CHECK((before - model.a - Matrix<float>::Constant(3, 7, 6.4F)).cwiseAbs().maxCoeff() < 1e-3F);
}

TEST_CASE("a first step of Adam is as long as the learning rate, however small the gradient") {
  Model<double> model;
  const auto before = test::values_of(model);
  model.gradients[0].setConstant(1e-3);
  Adam adam(model, {.learning_rate = 0.25});
  adam.step(model, model.gradients);
  const auto after = test::values_of(model);
  for (std::size_t i = 0; i < 21; ++i) CHECK(before[i] - after[i] == Approx(0.25).epsilon(1e-4));
  for (std::size_t i = 21; i < 26; ++i) CHECK(after[i] == before[i]);  // no gradient, no step
}

TEST_CASE("weights decay apart from the gradient, by groups that names tell") {
  const auto is_a = [](std::string_view name) { return name == "a"; };
  const auto is_b = [](std::string_view name) { return name == "b"; };
  const auto after = [](AdamOptions options) {
    Model<double> model;
    Adam adam(model, std::move(options));
    for (std::uint64_t t = 1; t <= 3; ++t) {
      model.set_gradients(t);
      adam.step(model, model.gradients);
    }
    return model;
  };
  const Model<double> plain = after({.learning_rate = 0.1});
  const Model<double> decayed = after({.learning_rate = 0.1, .weight_decay = 0.5});
  const Model<double> apart =
      after({.learning_rate = 0.1,
             .weight_decay = 0.5,
             .groups = {{.holds = is_a, .weight_decay = 0}, {.holds = is_a, .rate_factor = 0}}});
  CHECK(test::same_bits(apart.a, plain.a));  // the first group that holds it
  CHECK(test::same_bits(apart.b, decayed.b));
  CHECK_FALSE(test::same_bits(decayed.a, plain.a));
  // A rate of its own counts for the decay, too.
  const Model<double> slow = after(
      {.learning_rate = 0.1, .weight_decay = 0.5, .groups = {{.holds = is_b, .rate_factor = 0.5}}});
  CHECK(test::same_bits(slow.b, after({.learning_rate = 0.05, .weight_decay = 0.5}).b));
  CHECK(test::same_bits(slow.a, decayed.a));
  CHECK(after({.groups = {{.holds = is_b, .rate_factor = 0}}}).b == Model<double>().b);
  // A lazy column that was not used does not decay.
  Model<double> lazy;
  const Matrix<double> before = lazy.a;
  Adam adam(lazy, {.weight_decay = 0.5, .lazy = true});
  lazy.gradients[0].col(1).setOnes();
  adam.step(lazy, lazy.gradients);
  CHECK(lazy.a.col(0) == before.col(0));
  CHECK(lazy.a.col(1) != before.col(1));
}

TEST_CASE("AdamW is Adam with weight decay") {
  Model<float> model, other;
  AdamW adam_w(model);
  CHECK(adam_w.options().weight_decay == 0.01);
  CHECK(AdamW(model, {.learning_rate = 3e-4}).options().weight_decay == 0.01);
  CHECK(AdamW(model, {.weight_decay = 0}).options().weight_decay == 0);
  CHECK(Adam(model, {.learning_rate = 3e-4}).options().weight_decay == 0);
  Adam adam(other, {.weight_decay = 0.01});
  static_assert(ModelOptimizer<AdamW<float>, Model<float>> && Stateful<AdamW<float>>);
  const auto step = [&] { adam_w.step(model, model.gradients); };
  model.set_gradients(1);
  other.set_gradients(1);
  step();
  adam.step(other, other.gradients);
  CHECK(test::same_bits(test::values_of(model), test::values_of(other)));
  if (test::can_count_allocations) CHECK(test::count_allocations(step) == 0);
}

TEST_CASE("a constant schedule has the bits of a number, a warm-up starts small") {
  Model<float> number, constant, warm;
  const auto before = test::values_of(warm);
  Adam first(number, {.learning_rate = 0.1});
  Adam second(constant, {.learning_rate = Schedule::constant(0.1, 7)});
  Adam third(warm, {.learning_rate = Schedule::warm_up(4).then_constant(0.1)});
  for (std::uint64_t t = 1; t <= 3; ++t) {
    for (auto* model : {&number, &constant, &warm}) model->set_gradients(t);
    first.step(number, number.gradients);
    second.step(constant, constant.gradients);
    third.step(warm, warm.gradients);
    if (t > 1) continue;
    for (std::size_t i = 0; i < before.size(); ++i)
      CHECK(std::abs(test::values_of(warm)[i] - before[i]) == Approx(0.025).epsilon(1e-4));
  }
  CHECK(test::same_bits(test::values_of(number), test::values_of(constant)));
}

TEST_CASE("lazy Adam leaves alone the columns without a gradient, the dense form coasts on") {
  for (const bool lazy : {true, false}) {
    CAPTURE(lazy);
    Model<double> model;
    Adam adam(model, {.learning_rate = 0.1, .lazy = lazy});
    model.set_gradients(1);
    adam.step(model, model.gradients);
    const Matrix<double> after_one = model.a;
    model.set_gradients(2);
    model.gradients[0].col(2).setZero();
    model.gradients[0](1, 4) = 0;  // one element of 0 does not make a column of 0
    adam.step(model, model.gradients);
    CHECK((model.a.col(2) == after_one.col(2)) == lazy);
    CHECK(model.a.col(3) != after_one.col(3));
    CHECK(model.a(1, 4) != after_one(1, 4));
  }
}

TEST_CASE("lazy Adam finds the few columns of many that have a gradient, a nan too") {
  Model<double> model(12000);
  const Matrix<double> before = model.a;
  Adam adam(model, {.lazy = true});
  const std::vector<Index> touched = {0, 169, 170, 171, 5460, 5461, 11998, 11999};
  for (const Index c : touched) model.gradients[0](c % 3, c) = 1e-320;  // by its square nothing
  for (const Index c : touched) model.gradients[0]((c + 1) % 3, c) = -2;
  adam.step(model, model.gradients);
  CHECK((model.gradients[0].array() == 0).all());
  std::vector<Index> moved;
  for (Index c = 0; c < 12000; ++c)
    if (model.a.col(c) != before.col(c)) moved.push_back(c);
  CHECK(moved == touched);
  model.gradients[0](1, 7001) = std::nan("");
  CHECK_THROWS_AS(adam.step(model, model.gradients), NotFinite);
}

TEST_CASE("lazy Adam equals the dense form while every column has a gradient") {
  // Long enough for several chunks.
  Model<double> dense_model(12000), lazy_model(12000);
  Adam dense(dense_model), lazy(lazy_model, {.lazy = true});
  for (std::uint64_t t = 0; t < 2; ++t) {
    dense_model.set_gradients(t);
    lazy_model.set_gradients(t);
    dense.step(dense_model, dense_model.gradients);
    lazy.step(lazy_model, lazy_model.gradients);
  }
  CHECK(lazy_model.a.isApprox(dense_model.a, 1e-14));
  CHECK(lazy_model.gradients[0].isZero(0));
}

TEST_CASE("a model that is copied or moved goes on, and so does a copy of the optimizer") {
  Model<double> model;
  Adam adam(model);
  model.set_gradients(1);
  adam.step(model, model.gradients);
  Model<double> copy = model;
  Adam<double> adam_copy = adam;
  model.set_gradients(2);
  adam.step(model, model.gradients);
  copy.set_gradients(2);
  adam_copy.step(copy, copy.gradients);
  CHECK(test::same_bits(test::values_of(copy), test::values_of(model)));
  Model<double> moved = std::move(model);
  moved.set_gradients(3);
  adam.step(moved, moved.gradients);
  copy.set_gradients(3);
  adam_copy.step(copy, copy.gradients);
  CHECK(test::same_bits(test::values_of(copy), test::values_of(moved)));
}

TEST_CASE("the state of Adam can be taken and given, to resume") {
  Model<double> model;
  Adam adam(model);
  model.set_gradients(1);
  adam.step(model, model.gradients);
  std::vector<std::string> names;
  std::vector<std::vector<double>> state;
  std::as_const(adam).visit_state([&](const ParameterName& name, auto values) {
    names.push_back(name.str());
    state.emplace_back(values.begin(), values.end());
  });
  CHECK(names == std::vector<std::string>{"mean", "square", "steps"});
  CHECK(state[0].size() == 26);
  CHECK(state[1].size() == 26);
  CHECK(state[2] == std::vector<double>{1});

  Model<double> resumed_model = model;
  Adam resumed(resumed_model);
  const auto give = [&](auto change) {
    std::size_t i = 0;
    resumed.visit_state([&](const ParameterName&, auto values) {
      using T = typename decltype(values)::element_type;
      REQUIRE(values.size() == state[i].size());
      for (std::size_t j = 0; j < values.size(); ++j) values[j] = T(state[i][j]);
      ++i;
      change(values);
    });
  };
  // What cannot be a state is refused.
  give([](auto values) {
    if constexpr (std::integral<typename decltype(values)::element_type>) values[0] = -5;
  });
  CHECK_THROWS_WITH(resumed.restored(), "comet::Adam::restored: steps is -5, expected at least 0");
  give([](auto values) {
    if (values.size() > 1) values[3] = -1;  // a mean may be negative, a square may not
  });
  CHECK_THROWS_WITH(resumed.restored(),
                    "comet::Adam::restored: a square is -1, expected a finite number >= 0");
  give([](auto values) {
    if constexpr (std::floating_point<typename decltype(values)::element_type>)
      values[3] = std::nan("");
  });
  CHECK_THROWS_WITH(resumed.restored(),
                    "comet::Adam::restored: a mean is nan, expected a finite number");

  give([](auto) {});
  CHECK_NOTHROW(resumed.restored());
  model.set_gradients(2);
  adam.step(model, model.gradients);
  resumed_model.set_gradients(2);
  resumed.step(resumed_model, resumed_model.gradients);
  CHECK(resumed.num_steps() == 2);
  CHECK(test::same_bits(test::values_of(resumed_model), test::values_of(model)));
}

TEST_CASE("Adam refuses a model of other sizes than at construction, and leaves it as it is") {
  Model<double> model;
  Adam adam(model);
  adam.step(model, model.gradients);
  Model<double> larger(9), smaller(5);
  larger.set_gradients(1);
  smaller.set_gradients(1);
  const auto before = test::values_of(larger);
  const char* message =
      "comet::Adam::step: the model's tensors are others than at construction, from a on";
  CHECK_THROWS_WITH(adam.step(larger, larger.gradients), message);
  CHECK(test::same_bits(test::values_of(larger), before));
  CHECK_THROWS_WITH(adam.step(smaller, smaller.gradients), message);
  CHECK_THROWS_WITH(adam.step(model, larger.gradients),
                    "comet::Adam::step: the gradients are of another model, from a on");
  CHECK(adam.num_steps() == 1);
  CHECK_NOTHROW(adam.step(model, model.gradients));
  // One that was made for no model waits to be assigned.
  Adam<double> later;
  CHECK_THROWS_WITH(later.step(model, model.gradients), message);
  later = Adam(model, {.learning_rate = 0.5});
  CHECK_NOTHROW(later.step(model, model.gradients));
}

TEST_CASE("Adam takes the gradients of a pass, and allocates nothing") {
  Dense<float> layer({.input_dim = 3, .output_dim = 2}, RandomKey(1));
  Dense<float> copy = layer;
  const Matrix<float> x = random_matrix<float>(3, 4, 1), y(2, 4),
                      dy = random_matrix<float>(2, 4, 2);
  Gradients gradients(copy);
  Pass pass(layer), view_pass(copy, gradients.view());
  Adam adam(layer), copy_adam(copy);
  const auto step = [&] {
    layer.backward(x, y, dy, no_gradient, pass);
    adam.step(layer, pass);
  };
  step();
  copy.backward(x, y, dy, no_gradient, view_pass);
  copy_adam.step(copy, gradients);
  CHECK(test::same_bits(test::values_of(layer), test::values_of(copy)));
  for (const float g : test::gradients_of(layer, pass)) CHECK(g == 0.0F);
  if (test::can_count_allocations) CHECK(test::count_allocations(step) == 0);
}

TEST_CASE("Adam reports a gradient that is not finite with its tensor and step") {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
    for (const bool lazy : {false, true}) {
      Model<double> model;
      Adam adam(model, {.lazy = lazy});
      model.set_gradients(1);
      adam.step(model, model.gradients);
      model.set_gradients(2);
      model.gradients[1](3, 0) = bad;
      CHECK_THROWS_WITH(adam.step(model, model.gradients),
                        "comet::Adam::step: the gradient of b is not finite, or too large to be "
                        "squared, at step 2");
      for (const double value : test::values_of(model)) CHECK(std::isfinite(value));
    }
  Model<double> model;
  model.gradients[0](0, 0) = std::nan("");
  Adam adam(model);
  CHECK_THROWS_AS(adam.step(model, model.gradients), NotFinite);
}

TEST_CASE("Adam refuses options outside their bounds") {
  const Model<double> model;
  const auto make = [&](AdamOptions options) { return Adam(model, options); };
  CHECK_THROWS_WITH(make({.learning_rate = 0}),
                    "comet::Adam: learning_rate is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(make({.beta1 = 1}), "comet::Adam: beta1 is 1, expected in [0, 1)");
  CHECK_THROWS_WITH(make({.beta2 = -0.5}), "comet::Adam: beta2 is -0.5, expected in [0, 1)");
  CHECK_THROWS_WITH(make({.epsilon = 0}),
                    "comet::Adam: epsilon is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(make({.learning_rate = Schedule::linear(1, -1, 5)}),
                    "comet::Adam: the least learning_rate is -1, expected a finite number >= 0");
  CHECK_NOTHROW(make({.learning_rate = Schedule::linear(1, 0, 5)}));
  CHECK_THROWS_WITH(make({.weight_decay = -1}),
                    "comet::Adam: weight_decay is -1, expected a finite number >= 0");
  CHECK_THROWS_WITH(make({.groups = {{.rate_factor = 2}}}),
                    "comet::Adam: a group has no function `holds` that tells its tensors");
  const auto any = [](std::string_view) { return true; };
  CHECK_THROWS_WITH(make({.groups = {{.holds = any, .rate_factor = -2}}}),
                    "comet::Adam: the rate_factor of a group is -2, expected a finite number >= 0");
  CHECK_THROWS_WITH(
      make({.groups = {{.holds = any, .weight_decay = -2}}}),
      "comet::Adam: the weight_decay of a group is -2, expected a finite number >= 0");
  Adam adam(model);
  CHECK_THROWS_WITH(
      adam.set_learning_rate(-1),
      "comet::Adam::set_learning_rate: learning_rate is -1, expected a finite number > 0");
  adam.set_learning_rate(0.5);
  CHECK(adam.options().learning_rate == 0.5);
}

TEST_CASE("Adam refuses options that are beyond the range of the model's scalar") {
  const Model<float> model;
  const auto make = [&](AdamOptions options) { return Adam(model, options); };
  const std::string most = "expected at most the largest float = 3.40282e+38";
  const auto any = [](std::string_view) { return true; };
  CHECK_THROWS_WITH(make({.learning_rate = 1e39}), "comet::Adam: learning_rate is 1e+39, " + most);
  CHECK_THROWS_WITH(make({.learning_rate = Schedule::linear(0, 1e39, 5)}),
                    "comet::Adam: learning_rate is 1e+39, " + most);
  CHECK_THROWS_WITH(
      make({.learning_rate = 1e-60}),
      "comet::Adam: learning_rate is 1e-60, expected a number that is not 0 as a float");
  CHECK_THROWS_WITH(make({.epsilon = 1e39}), "comet::Adam: epsilon is 1e+39, " + most);
  CHECK_THROWS_WITH(make({.beta1 = 0.999999999}),
                    "comet::Adam: beta1 is 0.99999999900000003, expected below 1 as a float");
  CHECK_THROWS_WITH(make({.groups = {{.holds = any, .rate_factor = 1e41}}}),
                    "comet::Adam: learning_rate * rate_factor / (1 - beta1) is 1e+39, " + most);
  CHECK_THROWS_WITH(make({.weight_decay = 1e42}),
                    "comet::Adam: learning_rate * rate_factor * weight_decay is 1e+39, " + most);
  CHECK_THROWS_WITH(Adam(Model<double>(), {.learning_rate = 1e300,
                                           .groups = {{.holds = any, .rate_factor = 1e308}}}),
                    "comet::Adam: learning_rate * rate_factor / (1 - beta1) is inf, "
                    "expected at most the largest double = 1.79769e+308");
  Adam adam(model);
  CHECK_THROWS_WITH(adam.set_learning_rate(1e38),
                    "comet::Adam::set_learning_rate: learning_rate * rate_factor / (1 - beta1) is "
                    "1e+39, " +
                        most);
  CHECK(adam.options().learning_rate == 1e-3);
}
