// SPDX-License-Identifier: MIT
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/experts/bank.hpp>
#include <comet/experts/constant.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

static_assert(SplitBackwardExpert<ZeroExpert<float>> && SplitBackwardExpert<CopyExpert<double>>);

namespace {

constexpr Index d = 3, n = 4, num_samples = 30;

/// Four experts that compute, one that gives 0 and one that gives x.
struct Mixture {
  using Scalar = double;

  TopKGate<double> gate{{.input_dim = d, .num_experts = n + 2, .k = 3}, RandomKey(1)};
  ExpertBank<DenseExpert<double>> real{make_experts<DenseExpert<double>>(
      n, {.input_dim = d, .output_dim = d, .activation = Activation::identity}, RandomKey(2))};
  ExpertBank<ZeroExpert<double>> zero{
      make_experts<ZeroExpert<double>>(1, {.input_dim = d, .output_dim = d}, RandomKey(3)), n};
  ExpertBank<CopyExpert<double>> copy{
      make_experts<CopyExpert<double>>(1, {.input_dim = d, .output_dim = d}, RandomKey(3)), n + 1};

  void visit(auto&& f) const {
    f("gate", gate);
    f("real", real);
    f("zero", zero);
    f("copy", copy);
  }
};

/// A forward and a backward pass through the stages.
struct Step {
  explicit Step(const Mixture& m) : model(m) {}

  void forward(const Matrix<double>& x, Matrix<double>& y) {
    model.gate.forward(x, routing, RandomKey(5), gate);
    plan.build(routing, n + 2);
    gather(x, plan, columns);
    model.real.forward(plan, columns, outputs, RandomKey(5), real);
    model.zero.forward(plan, columns, outputs, RandomKey(5), zero);
    model.copy.forward(plan, columns, outputs, RandomKey(5), copy);
    combine(outputs, plan, routing, y);
  }
  void backward(const Matrix<double>& x, const Matrix<double>& dy, GradientView<double> gradients,
                MatrixView<double> dx) {
    gate.borrow(gradients.next(model.gate));
    real.borrow(gradients.next(model.real));
    zero.borrow(gradients.next(model.zero));
    copy.borrow(gradients.next(model.copy));
    spread(dy, plan, routing, outputs, doutputs, dweights);
    model.real.backward(plan, columns, outputs, doutputs, dcolumns, real);
    model.zero.backward(plan, columns, outputs, doutputs, dcolumns, zero);
    model.copy.backward(plan, columns, outputs, doutputs, dcolumns, copy);
    gather_back(dcolumns, plan, dx);
    model.gate.backward(x, routing, dweights, dx, gate);
  }

  const Mixture& model;
  Pass<TopKGate<double>> gate;
  Pass<ExpertBank<DenseExpert<double>>> real;
  Pass<ExpertBank<ZeroExpert<double>>> zero;
  Pass<ExpertBank<CopyExpert<double>>> copy;
  Routing<double> routing;
  DispatchPlan plan;
  Columns<double> columns, outputs, doutputs, dcolumns;
  AlignedVector<double> dweights;
};

}  // namespace

TEST_CASE("zero and copy experts beside real ones give 0 and x, and keep their weight") {
  const Mixture model;
  const Matrix<double> x = random_matrix<double>(d, num_samples, 4);
  Step step(model);
  Matrix<double> y(d, num_samples);
  step.forward(x, y);
  const Matrix<double> weights = step.routing.dense(n + 2);
  REQUIRE((weights.row(n).array() > 0).any());
  REQUIRE((weights.row(n + 1).array() > 0).any());
  Matrix<double> expected = x * weights.row(n + 1).asDiagonal();
  for (Index i = 0; i < n; ++i) {
    const auto& expert = model.real.experts()[std::size_t(i)];
    expected += ((expert.weight().transpose() * x).colwise() + expert.bias().col(0)) *
                weights.row(i).asDiagonal();
  }
  CHECK(test::relative_error(y, expected) <= 1e-12);
}

TEST_CASE("gradients of a mixture with zero and copy experts agree with finite differences",
          "[gradient]") {
  Mixture mixture;
  test::WithInput model(mixture, random_matrix<double>(d, num_samples, 4));
  const Matrix<double> dy = random_matrix<double>(d, num_samples, 6);
  Step step(mixture);
  Matrix<double> y(d, num_samples);
  const auto loss = [&] {
    step.forward(model.x, y);
    return y.cwiseProduct(dy).sum();
  };
  const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
    loss();
    step.backward(model.x, dy, model.of_part(gradients), model.of_input(gradients));
  });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-6);
}

TEMPLATE_TEST_CASE("a layer may have nothing but copy experts", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const MoeLayer layer(
      SoftmaxGate<S>({.input_dim = d, .num_experts = n}, RandomKey(1)),
      make_experts<CopyExpert<S>>(n, {.input_dim = d, .output_dim = d}, RandomKey(2)));
  const Matrix<S> x = random_matrix<S>(d, num_samples, 4);
  const Matrix<S> dy = random_matrix<S>(d, num_samples, 5);
  Matrix<S> y(d, num_samples), dx = Matrix<S>::Zero(d, num_samples);
  Pass pass(layer);
  layer.predict(x, y, pass);
  CHECK(test::relative_error(y, x) <= 1e-6);
  layer.forward(x, y, RandomKey(3), pass);
  CHECK(test::relative_error(y, x) <= 1e-6);
  layer.backward(x, dy, dx, pass);
  CHECK(test::relative_error(dx, dy) <= 1e-5);  // all outputs are alike: nothing by the gate
  CHECK(count_parameters(layer) == n * (d + 1));
  CHECK(layer.experts().front().cost() == 0);
}

TEST_CASE("experts that compute nothing refuse sizes that make no sense") {
  CHECK_THROWS_WITH(ZeroExpert<float>({.input_dim = 0, .output_dim = 2}),
                    "comet::ZeroExpert: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(ZeroExpert<float>({.input_dim = 2, .output_dim = 0}),
                    "comet::ZeroExpert: output_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(CopyExpert<float>({.input_dim = 2, .output_dim = 3}),
                    "comet::CopyExpert: output_dim is 3, expected input_dim = 2");
}
