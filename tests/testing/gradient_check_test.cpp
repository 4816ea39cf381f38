// SPDX-License-Identifier: MIT
#include <cmath>

#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// The loss sum(sin(a)) + 1000 * sum(b^2), with a slip in the gradient if asked for.
struct Model {
  using Scalar = double;
  Parameter<double> a{2, 3}, b{4, 1};
  double slip = 0;

  Model() {
    a.values = random_matrix<double>(2, 3, 1, -2, 2);
    b.values = random_matrix<double>(4, 1, 2, -2, 2);
  }

  double loss() const { return a.values.array().sin().sum() + 1000 * b.values.squaredNorm(); }
  void backward() {
    a.gradients.array() += a.values.array().cos();
    b.gradients += 2000 * b.values;
    a.gradients(1, 2) += slip;
  }

  template <class F>
  void visit_parameters(F&& f) {
    a.visit("a", f);
    b.visit("b", f);
  }
};

testing::GradientCheckResult check(Model& model) {
  return testing::check_gradients(
      model, [&] { return model.loss(); }, [&] { model.backward(); });
}

}  // namespace

TEST_CASE("right gradients pass, and the model is left as it was") {
  Model model;
  const auto values = test::values_of(model);
  model.a.gradients.setConstant(5);  // of an earlier pass
  const auto result = check(model);
  CHECK(result.largest_error <= 1e-7);
  CHECK(result.num_checked == 10);
  CHECK(test::same_bits(test::values_of(model), values));
  CHECK(model.a.gradients(0, 0) == Approx(std::cos(model.a.values(0, 0))));
}

TEST_CASE("a wrong gradient is named with both derivatives") {
  Model model;
  model.slip = 0.01;
  const auto result = check(model);
  CHECK(result.where == "a(1, 2)");
  CHECK(result.largest_error == Approx(0.01).epsilon(1e-3));
  CHECK(result.analytic == Approx(result.numeric + 0.01));
  CHECK(result.numeric == Approx(std::cos(model.a.values(1, 2))));
}

TEST_CASE("a gradient that is nan is not passed over") {
  Model model;
  model.slip = std::nan("");
  const auto result = check(model);
  CHECK_FALSE(result.largest_error <= 1e-6);
  CHECK(result.where == "a(1, 2)");
}
