// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/optimizers/sgd.hpp>
#include <support/model.hpp>

using comet::Matrix;
using comet::Sgd;

namespace {

struct TwoTensors {
  using Scalar = double;
  template <class F>
  void visit_parameters(F&& f) {
    a.visit("a", f);
    b.visit("b", f);
  }
  comet::Parameter<double> a{2, 2};
  comet::Parameter<double> b{1, 3};
};

static_assert(comet::Optimizer<Sgd<double>, TwoTensors>);

}  // namespace

TEST_CASE("a step follows the gradient and consumes it") {
  TwoTensors model;
  model.a.values.setOnes();
  model.a.gradients.setConstant(2);
  model.b.gradients.setConstant(-4);
  Sgd<double> sgd({.learning_rate = 0.25});
  sgd.step(model);
  CHECK(model.a.values == Matrix<double>::Constant(2, 2, 0.5));
  CHECK(model.b.values == Matrix<double>::Constant(1, 3, 1));
  CHECK(model.a.gradients.isZero(0));
  CHECK(sgd.num_steps() == 1);
  sgd.step(model);  // nothing left to apply
  CHECK(model.b.values == Matrix<double>::Constant(1, 3, 1));
}

TEST_CASE("momentum accumulates and goes on without a gradient; state goes by order") {
  TwoTensors model;
  Sgd<double> sgd({.learning_rate = 1, .momentum = 0.5});
  model.a.gradients.setConstant(1);
  model.b.gradients.setConstant(8);
  sgd.step(model);                   // v = 1, p = -1
  TwoTensors moved = model;          // the state is not tied to an address
  moved.a.gradients.setConstant(2);  // v = 2.5
  sgd.step(moved);
  CHECK(moved.a.values(1, 1) == -3.5);
  CHECK(moved.b.values(0, 2) == -12);
  sgd.step(moved);
  CHECK(moved.a.values(0, 0) == -4.75);

  std::vector<double> velocity;
  sgd.visit_state(
      [&](const char*, auto& values) { velocity.assign(values.begin(), values.end()); });
  CHECK(velocity == std::vector<double>{1.25, 1.25, 1.25, 1.25, 2, 2, 2});
}

TEST_CASE("Sgd: no allocation after the first step") {
  TwoTensors model;
  Sgd<double> sgd({.momentum = 0.9});
  sgd.step(model);
  if (comet::test::can_count_allocations)
    CHECK(comet::test::count_allocations([&] { sgd.step(model); }) == 0);
}

TEST_CASE("misuse of Sgd is named, and a gradient that is not finite is not applied") {
  CHECK_THROWS_AS(Sgd<double>({.learning_rate = 0}), std::invalid_argument);
  CHECK_THROWS_AS(Sgd<double>({.momentum = 1}), std::invalid_argument);
  Sgd<double> sgd;
  CHECK_THROWS_AS(sgd.set_learning_rate(-1), std::invalid_argument);
  sgd.set_learning_rate(1);
  TwoTensors model;
  model.a.gradients(0, 1) = std::nan("");
  model.b.gradients.setOnes();
  CHECK_THROWS_WITH(sgd.step(model), "comet::Sgd::step: the gradient of a is not finite at step 1");
  CHECK(model.a.values.isZero(0));
  CHECK(model.b.values(0, 0) == -1);

  TwoTensors larger;
  larger.b = comet::Parameter<double>(1, 4);
  CHECK_THROWS_WITH(
      sgd.step(larger),
      "comet::Sgd::step: number of parameters is 8, expected that of the first step = 7");
}
