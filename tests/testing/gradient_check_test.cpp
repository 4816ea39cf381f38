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
  Parameter<double> a = {2, 3}, b = {4};
  double slip = 0;

  Model() {
    a = random_matrix<double>(3, 2, 1, -2, 2);
    b = random_matrix<double>(4, 1, 2, -2, 2);
  }

  double loss() const { return a.array().sin().sum() + 1000 * b.squaredNorm(); }
  void backward(GradientView<double> gradients) const {
    gradients[0].array() += a.array().cos();
    gradients[1] += 2000 * b;
    gradients[0](2, 1) += slip;
  }

  template <class F>
  void visit(F&& f) const {
    f("a", a);
    f("b", b);
  }
};

testing::GradientCheckResult check(Model& model) {
  return testing::check_gradients(
      model, [&] { return model.loss(); },
      [&](GradientView<double> gradients) { model.backward(gradients); });
}

}  // namespace

TEST_CASE("right gradients pass, and the model is left as it was") {
  Model model;
  const auto values = test::values_of(model);
  const auto result = check(model);
  CHECK(result.largest_error <= 1e-7);
  CHECK(result.num_checked == 10);
  CHECK(test::same_bits(test::values_of(model), values));
  // The gradients begin at zero.
  const auto zero = testing::check_gradients(
      model, [] { return 0.0; },
      [](GradientView<double> gradients) {
        for (Index i = 0; i < gradients.size(); ++i) CHECK(gradients[i].isZero(0));
      });
  CHECK(zero.largest_error == 0);
}

TEST_CASE("a wrong gradient is named with both derivatives") {
  Model model;
  model.slip = 0.01;
  const auto result = check(model);
  CHECK(result.where == "a(2, 1)");
  CHECK(result.largest_error == Approx(0.01).epsilon(1e-3));
  CHECK(result.analytic == Approx(result.numeric + 0.01));
  CHECK(result.numeric == Approx(std::cos(model.a(2, 1))));
}

TEST_CASE("a gradient that is nan is not passed over") {
  Model model;
  model.slip = std::nan("");
  const auto result = check(model);
  CHECK_FALSE(result.largest_error <= 1e-6);
  CHECK(result.where == "a(2, 1)");
}
