// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/optimizers/sgd.hpp>
#include <support/model.hpp>

using comet::Index;
using comet::Matrix;
using comet::Sgd;

namespace {

struct TwoTensors {
  using Scalar = double;
  comet::Parameter<double> a = {2, 2};
  comet::Parameter<double> b = {3, 1};
  comet::Gradients<double> gradients = comet::Gradients<double>(*this);

  template <class F>
  void visit(F&& f) const {
    f("a", a);
    f("b", b);
  }
};

struct OfFloats {
  using Scalar = float;
  comet::Parameter<float> a = {2, 2};

  template <class F>
  void visit(F&& f) const {
    f("a", a);
  }
};

static_assert(comet::ModelOptimizer<Sgd<double>, TwoTensors>);
static_assert(comet::Stateful<Sgd<double>>);

}  // namespace

TEST_CASE("a step follows the gradient and consumes it") {
  TwoTensors model;
  model.a.setOnes();
  model.gradients[0].setConstant(2);
  model.gradients[1].setConstant(-4);
  Sgd sgd(model, {.learning_rate = 0.25});
  sgd.step(model, model.gradients);
  CHECK(model.a == Matrix<double>::Constant(2, 2, 0.5));
  CHECK(model.b == Matrix<double>::Constant(1, 3, 1));
  CHECK(model.gradients[0].isZero(0));
  CHECK(sgd.num_steps() == 1);
  sgd.step(model, model.gradients);  // nothing left to apply
  CHECK(model.b == Matrix<double>::Constant(1, 3, 1));
}

TEST_CASE("SGD follows a schedule: step t has its value at t") {
  TwoTensors model, other;
  Sgd sgd(model, {.learning_rate = comet::Schedule::warm_up(2).then_constant(0.5)}), plain(other);
  for (const double rate : {0.25, 0.5, 0.5}) {
    model.gradients[0].setOnes();
    other.gradients[0].setOnes();
    plain.set_learning_rate(rate);
    sgd.step(model, model.gradients);
    plain.step(other, other.gradients);
    CHECK(model.a == other.a);
  }
}

TEST_CASE("momentum accumulates and goes on without a gradient; state goes by order") {
  TwoTensors model;
  Sgd sgd(model, {.learning_rate = 1, .momentum = 0.5});
  model.gradients[0].setConstant(1);
  model.gradients[1].setConstant(8);
  sgd.step(model, model.gradients);   // v = 1, p = -1
  TwoTensors moved = model;           // the state is not tied to an address
  moved.gradients[0].setConstant(2);  // v = 2.5
  sgd.step(moved, moved.gradients);
  CHECK(moved.a(1, 1) == -3.5);
  CHECK(moved.b(0, 2) == -12);
  sgd.step(moved, moved.gradients);
  CHECK(moved.a(0, 0) == -4.75);

  std::vector<std::vector<double>> state;
  std::as_const(sgd).visit_state(
      [&](const char*, auto values) { state.emplace_back(values.begin(), values.end()); });
  CHECK(state == std::vector<std::vector<double>>{{1.25, 1.25, 1.25, 1.25, 2, 2, 2}, {3}});

  // Given to another, it goes on.
  TwoTensors copy = moved;
  Sgd resumed(copy, sgd.options());
  std::size_t i = 0;
  resumed.visit_state([&](const char*, auto values) {
    using T = typename decltype(values)::element_type;
    REQUIRE(values.size() == state[i].size());
    for (std::size_t j = 0; j < values.size(); ++j) values[j] = T(state[i][j]);
    ++i;
  });
  CHECK_NOTHROW(resumed.restored());
  sgd.step(moved, moved.gradients);
  resumed.step(copy, copy.gradients);
  CHECK(copy.a == moved.a);
  CHECK(resumed.num_steps() == 4);
  resumed.visit_state([](const char*, auto values) { values.back() = -1; });
  CHECK_THROWS_WITH(resumed.restored(), "comet::Sgd::restored: steps is -1, expected at least 0");
}

TEST_CASE("Sgd refuses options that are beyond the range of the model's scalar") {
  const OfFloats model;
  CHECK_THROWS_WITH(Sgd(model, {.learning_rate = 1e39}),
                    "comet::Sgd: learning_rate is 1e+39, expected at most the largest float = "
                    "3.40282e+38");
  CHECK_THROWS_WITH(Sgd(model, {.momentum = 0.999999999}),
                    "comet::Sgd: momentum is 0.99999999900000003, expected below 1 as a float");
  Sgd sgd(model);
  CHECK_THROWS_WITH(sgd.set_learning_rate(1e39),
                    "comet::Sgd::set_learning_rate: learning_rate is 1e+39, expected at most the "
                    "largest float = 3.40282e+38");
  CHECK(sgd.options().learning_rate == 1e-2);
}

TEST_CASE("a velocity without gradients ends at 0, never denormal") {
  TwoTensors model;
  Sgd sgd(model, {.learning_rate = 0.25, .momentum = 0.5});
  model.gradients[0].setConstant(2);
  model.gradients[1].setConstant(-4);
  const auto velocity = [&] {
    std::span<double> result;
    sgd.visit_state([&](const auto& /*name*/, auto values) {
      if constexpr (std::is_same_v<decltype(values), std::span<double>>) result = values;
    });
    return result;
  };
  Index denormal = 0;
  for (int step = 0; step < 1200; ++step) {
    sgd.step(model, model.gradients);
    for (const double value : velocity()) denormal += std::fpclassify(value) == FP_SUBNORMAL;
    if (step == 900) CHECK(velocity()[0] > 0);
  }
  CHECK(denormal == 0);
  for (const double value : velocity()) CHECK(value == 0);
}

TEST_CASE("without momentum there is no velocity") {
  TwoTensors model;
  Sgd sgd(model);
  sgd.visit_state([](const std::string& name, auto values) {
    CHECK(values.size() == (name == "velocity" ? 0U : 1U));
  });
}

TEST_CASE("Sgd: no allocation in a step") {
  TwoTensors model;
  Sgd sgd(model, {.momentum = 0.9});
  if (comet::test::can_count_allocations)
    CHECK(comet::test::count_allocations([&] { sgd.step(model, model.gradients); }) == 0);
}

TEST_CASE("misuse of Sgd is named, and a gradient that is not finite is not applied") {
  TwoTensors model;
  CHECK_THROWS_AS(Sgd(model, {.learning_rate = 0}), std::invalid_argument);
  CHECK_THROWS_AS(Sgd(model, {.momentum = 1}), std::invalid_argument);
  Sgd sgd(model);
  CHECK_THROWS_AS(sgd.set_learning_rate(-1), std::invalid_argument);
  sgd.set_learning_rate(1);
  model.gradients[0](0, 1) = std::nan("");
  model.gradients[1].setOnes();
  CHECK_THROWS_WITH(sgd.step(model, model.gradients),
                    "comet::Sgd::step: the gradient of a is not finite at step 1");
  CHECK(model.a.isZero(0));
  CHECK(model.b(0, 0) == -1);
  CHECK_THROWS_AS(sgd.step(model, model.gradients), comet::NotFinite);

  TwoTensors larger;
  larger.b = comet::Parameter<double>({4, 1});
  larger.gradients = comet::Gradients<double>(larger);
  CHECK_THROWS_WITH(
      sgd.step(larger, larger.gradients),
      "comet::Sgd::step: the model's tensors are others than at construction, from b on");
}
