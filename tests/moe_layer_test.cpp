// SPDX-License-Identifier: MIT
#include <memory>
#include <string>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/counting_expert.hpp>
#include <support/dense_reference.hpp>
#include <support/fixed_gate.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::CountingExpert;
using comet::test::FixedGate;
using comet::test::Load;
using comet::test::random_matrix;

namespace {

template <class S>
std::vector<DenseExpert<S>> dense_experts(Index n, DenseExpertOptions options) {
  std::vector<DenseExpert<S>> experts;
  for (Index e = 0; e < n; ++e) {
    experts.emplace_back(options, RandomKey(100).fold(std::uint64_t(e)));
    // Biases are 0 at the start, which would hide a missing one.
    auto bias = test::parameter(experts.back(), "bias");
    bias = random_matrix<S>(bias.rows(), 1, 200 + std::uint64_t(e), -0.3, 0.3);
  }
  return experts;
}

/// Outputs and every gradient of a MoeLayer against evaluating every expert for every sample.
template <class S>
void check_against_dense(Index d, Index m, Index n, Load load, Index num_samples, Index tasks,
                         double tolerance) {
  std::vector<FixedGate<S>> gates;
  std::vector<Matrix<S>> weights;
  for (Index t = 0; t < tasks; ++t) {
    gates.emplace_back(n, test::make_routing<S>(load, n, num_samples, RandomKey(std::uint64_t(t))));
    weights.push_back(gates.back().routing().dense(n));
  }
  MoeLayer<FixedGate<S>, DenseExpert<S>> layer(
      gates, dense_experts<S>(n, {.input_dim = d, .output_dim = m}));
  const test::DenseReference<S> reference(layer.experts());
  const Matrix<S> x = random_matrix<S>(d, num_samples, 1);
  const Matrix<S> dy = random_matrix<S>(m, tasks * num_samples, 2);
  typename MoeLayer<FixedGate<S>, DenseExpert<S>>::Workspace workspace;

  Matrix<S> predicted = Matrix<S>::Constant(m, tasks * num_samples, S(7));
  layer.predict(x, predicted, workspace);
  Matrix<S> y = Matrix<S>::Constant(m, tasks * num_samples, S(7));
  layer.forward(x, y, RandomKey(0), workspace);
  CHECK(test::same_bits(y, predicted));
  CHECK(test::relative_error(y, reference.forward(x, weights)) <= tolerance);

  const Matrix<S> before = random_matrix<S>(d, num_samples, 3);  // dx is added to
  Matrix<S> dx = before;
  layer.backward(x, dy, dx, workspace);
  const auto expected = reference.backward(x, weights, dy);
  CHECK(test::relative_error(Matrix<S>(dx - before), expected.x) <= tolerance);
  for (Index e = 0; e < n; ++e) {
    const std::string name = "experts." + std::to_string(e) + ".";
    CHECK(test::relative_error(test::gradient(layer, name + "weight"),
                               expected.weights[std::size_t(e)]) <= tolerance);
    CHECK(test::relative_error(test::gradient(layer, name + "bias"),
                               expected.biases[std::size_t(e)]) <= tolerance);
  }
  for (Index t = 0; t < tasks; ++t) {
    const FixedGate<S>& gate = layer.gates()[std::size_t(t)];
    const auto& dweights = gate.dweights();
    REQUIRE(Index(dweights.size()) == gate.routing().num_entries());
    Routing<S> derivatives = gate.routing();
    std::copy(dweights.begin(), dweights.end(), derivatives.weights().begin());
    // Where the weight is 0 the expert was not evaluated, and the derivative is not known.
    const Matrix<S> used = (weights[std::size_t(t)].array() != S(0)).template cast<S>();
    CHECK(test::relative_error(derivatives.dense(n),
                               expected.gates[std::size_t(t)].cwiseProduct(used)) <= tolerance);
  }

  // The same without dx.
  const std::vector<S> gradients = test::gradients_of(layer);
  zero_gradients(layer);
  Matrix<S> none(0, 0);
  layer.backward(x, dy, none, workspace);
  CHECK(test::same_bits(test::gradients_of(layer), gradients));
}

}  // namespace

TEST_CASE("sparse equals dense, for any routing, batch and number of tasks") {
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index num_samples : {0, 1, 7, 61})
      for (const Index tasks : {1, 2, 3}) {
        CAPTURE(int(load), num_samples, tasks);
        check_against_dense<double>(5, 7, 6, load, num_samples, tasks, 1e-12);
        check_against_dense<float>(5, 7, 6, load, num_samples, tasks, 1e-5);
      }
}

TEST_CASE("sparse equals dense in a batch of 512") {
  for (const Load load : {Load::random, Load::skewed, Load::full})
    for (const Index tasks : {1, 2, 3}) {
      CAPTURE(int(load), tasks);
      check_against_dense<double>(3, 4, 5, load, 512, tasks, 1e-12);
    }
}

TEST_CASE("sparse equals dense for other shapes of experts") {
  struct Shape {
    Index d, m, n;
  };
  // One input, one output, one expert, sizes around Eigen's packets and small products.
  for (const Shape s : {Shape{1, 1, 1}, {1, 3, 2}, {4, 1, 3}, {2, 2, 16}, {17, 9, 2}, {8, 70, 3}})
    for (const Index num_samples : {1, 21}) {
      CAPTURE(s.d, s.m, s.n, num_samples);
      check_against_dense<double>(s.d, s.m, s.n, Load::random, num_samples, 2, 1e-12);
    }
}

TEST_CASE("an expert of zero weight is not evaluated, and a pair of two tasks only once") {
  const Index n = 5;
  const Index num_samples = 30;
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty}) {
    CAPTURE(int(load));
    const auto evaluations = std::make_shared<test::Evaluations>();
    std::vector<FixedGate<double>> gates;
    std::vector<CountingExpert<double>> experts;
    for (std::uint64_t t = 0; t < 2; ++t)
      gates.emplace_back(n, test::make_routing<double>(load, n, num_samples, RandomKey(t)));
    for (Index e = 0; e < n; ++e) experts.emplace_back(2, e, evaluations);
    test::Evaluations::Count expected;
    Matrix<double> mixed = Matrix<double>::Zero(2, num_samples);
    for (std::size_t t = 0; t < 2; ++t) {
      const Matrix<double> weights = gates[t].routing().dense(n);
      for (Index e = 0; e < n; ++e)
        for (Index b = 0; b < num_samples; ++b) {
          if (weights(e, b) != 0.0) expected[{e, b}] = 1;
          mixed(Index(t), b) += weights(e, b) * double(e + 1);
        }
    }
    MoeLayer<FixedGate<double>, CountingExpert<double>> layer(gates, experts);
    MoeLayer<FixedGate<double>, CountingExpert<double>>::Workspace workspace;
    Matrix<double> x = random_matrix<double>(2, num_samples, 3);
    for (Index b = 0; b < num_samples; ++b) x(0, b) = double(b + 1);
    Matrix<double> y(2, 2 * num_samples);

    layer.predict(x, y, workspace);
    CHECK(evaluations->forward == expected);
    evaluations->forward.clear();
    layer.forward(x, y, RandomKey(1), workspace);
    CHECK(evaluations->forward == expected);
    CHECK(workspace.plan().num_pairs() == Index(expected.size()));
    for (Index t = 0; t < 2; ++t)
      for (Index b = 0; b < num_samples; ++b)
        CHECK(y.col(t * num_samples + b).isApprox(mixed(t, b) * x.col(b), 1e-12));

    Matrix<double> dx = Matrix<double>::Zero(2, num_samples);
    layer.backward(x, Matrix<double>::Ones(2, 2 * num_samples), dx, workspace);
    CHECK(evaluations->backward == expected);
    for (Index b = 0; b < num_samples; ++b)
      CHECK(dx(1, b) == Approx(mixed(0, b) + mixed(1, b)).margin(1e-12));
  }
}

TEMPLATE_TEST_CASE("a layer's gradients agree with finite differences", "[gradient]",
                   CometGate<double>, TopKGate<double>) {
  using Gate = TestType;
  for (const std::size_t tasks : {1U, 2U}) {
    CAPTURE(tasks);
    std::vector<Gate> gates;
    for (std::uint64_t t = 0; t < tasks; ++t) {
      if constexpr (std::is_same_v<Gate, CometGate<double>>) {
        gates.emplace_back(
            CometGateOptions{
                .input_dim = 3, .num_experts = 5, .k = 2, .gamma = 2.0, .entropy = 0.2},
            RandomKey(t));
        test::parameter(gates.back(), "split.weight") *= 50.0;
      } else {
        gates.emplace_back(TopKGateOptions{.input_dim = 3, .num_experts = 5, .k = 2, .noise = true},
                           RandomKey(t));
      }
    }
    using Layer = MoeLayer<Gate, DenseExpert<double>>;
    Layer layer(gates,
                dense_experts<double>(5, {.input_dim = 3, .output_dim = 4, .dropout = 0.25}));
    test::WithInput model(layer, random_matrix<double>(3, 6, 8));
    const Matrix<double> dy = random_matrix<double>(4, Index(tasks) * 6, 9);
    Matrix<double> y(4, Index(tasks) * 6);
    typename Layer::Workspace workspace;
    const auto loss = [&] {
      layer.forward(model.x, y, RandomKey(3), workspace);
      return y.cwiseProduct(dy).sum() + layer.regularization(workspace);
    };
    const auto result = testing::check_gradients(model, loss, [&] {
      loss();
      layer.backward(model.x, dy, model.dx, workspace);
    });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
    CHECK(result.num_checked == count_parameters(layer) + 18);
  }
}

TEST_CASE("experts and gates may look at different inputs") {
  using Layer = MoeLayer<TopKGate<double>, DenseExpert<double>>;
  Layer layer({TopKGate<double>({.input_dim = 2, .num_experts = 4, .k = 2}, RandomKey(0))},
              dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  const Matrix<double> x = random_matrix<double>(3, 6, 1);
  test::WithInput model(layer, random_matrix<double>(2, 6, 2));
  const Matrix<double> dy = random_matrix<double>(2, 6, 3);
  Matrix<double> y(2, 6);
  Layer::Workspace workspace;
  const auto loss = [&] {
    layer.forward(x, model.x, y, RandomKey(3), workspace);
    return y.cwiseProduct(dy).sum();
  };
  const auto result = testing::check_gradients(model, loss, [&] {
    loss();
    Matrix<double> none(0, 0);
    layer.backward(x, model.x, dy, none, model.dx, workspace);
  });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-6);
  CHECK(model.dx.cwiseAbs().maxCoeff() > 0);
}

TEST_CASE("dropout draws by sample and expert: a smaller batch sees the same") {
  using Layer = MoeLayer<FixedGate<double>, DenseExpert<double>>;
  const auto run = [](Index num_samples) {
    Layer layer({FixedGate<double>(
                    3, test::make_routing<double>(Load::full, 3, num_samples, RandomKey(0)))},
                dense_experts<double>(3, {.input_dim = 4, .output_dim = 16, .dropout = 0.5}));
    Matrix<double> y(16, num_samples);
    Layer::Workspace workspace;
    const Matrix<double> x = random_matrix<double>(4, 32, 1);
    layer.forward(x.leftCols(num_samples), y, RandomKey(3), workspace);
    return y;
  };
  const Matrix<double> all = run(32);
  CHECK(all.leftCols(11).isApprox(run(11), 1e-12));
}

TEST_CASE("a layer is a regular value") {
  using Layer = MoeLayer<CometGate<float>, DenseExpert<float>>;
  Layer layer({CometGate<float>({.input_dim = 3, .num_experts = 4}, RandomKey(0))},
              dense_experts<float>(4, {.input_dim = 3, .output_dim = 2}));
  const auto before = test::values_of(layer);
  Layer copy = layer;
  copy.visit_parameters([](const ParameterName&, auto& values, auto&) { values.setZero(); });
  CHECK(test::same_bits(test::values_of(layer), before));
  copy = layer;
  CHECK(test::same_bits(test::values_of(copy), before));
  std::vector<std::string> names;
  layer.visit_parameters(
      [&](const ParameterName& name, auto&, auto&) { names.push_back(name.str()); });
  REQUIRE(names.size() == 4 * 2 + 4);
  CHECK(names[0] == "experts.0.weight");
  CHECK(names[7] == "experts.3.bias");
  CHECK(names[8] == "gates.0.split.weight");
  CHECK(names[11] == "gates.0.leaf.bias");
}

TEST_CASE("a layer refuses parts that do not fit together") {
  using Gate = TopKGate<double>;
  using Expert = DenseExpert<double>;
  using Layer = MoeLayer<Gate, Expert>;
  const Gate gate({.input_dim = 3, .num_experts = 2, .k = 1}, RandomKey(0));
  const Expert expert({.input_dim = 3, .output_dim = 4}, RandomKey(0));
  const Expert wide({.input_dim = 5, .output_dim = 4}, RandomKey(0));
  const Expert tall({.input_dim = 3, .output_dim = 5}, RandomKey(0));
  CHECK_THROWS_WITH(Layer({}, {expert, expert}),
                    "comet::MoeLayer: gates.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(Layer({gate}, {}), "comet::MoeLayer: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(Layer({gate}, {expert}),
                    "comet::MoeLayer: gate.num_experts() is 2, expected experts.size() = 1");
  CHECK_THROWS_WITH(
      Layer({gate}, {expert, wide}),
      "comet::MoeLayer: expert.input_dim() is 5, expected that of the first expert = 3");
  CHECK_THROWS_WITH(
      Layer({gate}, {expert, tall}),
      "comet::MoeLayer: expert.output_dim() is 5, expected that of the first expert = 4");
}

TEST_CASE("a layer refuses arguments of the wrong shape, and a backward() without its forward()") {
  using Layer = MoeLayer<TopKGate<double>, DenseExpert<double>>;
  Layer layer(std::vector<TopKGate<double>>(
                  2, TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0))),
              dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  Layer::Workspace workspace;
  const Matrix<double> x = random_matrix<double>(3, 5, 1);
  Matrix<double> y(2, 10), dx = Matrix<double>::Zero(3, 5);
  const Matrix<double> dy = random_matrix<double>(2, 10, 1);
  const std::string no_forward =
      "comet::MoeLayer::backward: the workspace holds no forward(); call it first";

  CHECK_THROWS_WITH(layer.predict(Matrix<double>::Zero(4, 5), y, workspace),
                    "comet::MoeLayer::predict: x.rows() is 4, expected input_dim = 3");
  Matrix<double> wrong_rows(3, 10), wrong_cols(2, 5);
  CHECK_THROWS_WITH(layer.predict(x, wrong_rows, workspace),
                    "comet::MoeLayer::predict: y.rows() is 3, expected output_dim = 2");
  CHECK_THROWS_WITH(layer.forward(x, wrong_cols, RandomKey(0), workspace),
                    "comet::MoeLayer::forward: y.cols() is 5, expected num_tasks * x.cols() = 10");
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, workspace), no_forward);
  layer.predict(x, y, workspace);
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, workspace), no_forward);

  layer.forward(x, y, RandomKey(0), workspace);
  CHECK_THROWS_WITH(
      layer.backward(x, wrong_cols, dx, workspace),
      "comet::MoeLayer::backward: dy.cols() is 5, expected num_tasks * x.cols() = 10");
  CHECK_THROWS_WITH(
      layer.backward(x.leftCols(4), dy.leftCols(8), dx, workspace),
      "comet::MoeLayer::backward: x.cols() is 4, expected samples of the last forward() = 5");
  Matrix<double> wide_dx = Matrix<double>::Zero(3, 6), tall_dx = Matrix<double>::Zero(4, 5);
  CHECK_THROWS_WITH(layer.backward(x, dy, wide_dx, workspace),
                    "comet::MoeLayer::backward: dx.cols() is 6, expected x.cols() = 5");
  CHECK_THROWS_WITH(layer.backward(x, dy, tall_dx, workspace),
                    "comet::MoeLayer::backward: dx.rows() is 4, expected x.rows() = 3");
  for (const double g : test::gradients_of(layer)) CHECK(g == 0.0);
  CHECK_NOTHROW(layer.backward(x, dy, dx, workspace));

  Matrix<double> bad = x;
  bad(2, 4) = std::nan("");
  CHECK_THROWS_WITH(layer.forward(bad, y, RandomKey(0), workspace),
                    "comet::TopKGate::forward: x(2, 4) is nan, expected a finite number");
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, workspace), no_forward);
  // Where the gate does not look at x, the layer does.
  CHECK_THROWS_WITH(layer.predict(bad, x, y, workspace),
                    "comet::MoeLayer::predict: x(2, 4) is nan, expected a finite number");
}

TEST_CASE("a layer checks what a gate of the user's returns") {
  using Layer = MoeLayer<FixedGate<double>, DenseExpert<double>>;
  Routing<double> routing;
  routing.clear();
  routing.push(1, 0.5);
  routing.push(1, 0.5);
  routing.end_sample();
  const Layer layer({FixedGate<double>(3, routing)},
                    dense_experts<double>(3, {.input_dim = 2, .output_dim = 2}));
  Layer::Workspace workspace;
  Matrix<double> y(2, 1), longer(2, 2);
  CHECK_THROWS_WITH(layer.predict(Matrix<double>::Zero(2, 1), y, workspace),
                    "comet::MoeLayer::predict: an expert of routing sample 0 is 1, expected above "
                    "1 and below num_experts = 3");
  CHECK_THROWS_WITH(layer.predict(Matrix<double>::Zero(2, 2), longer, workspace),
                    "comet::MoeLayer::predict: routing.num_samples() is 1, expected x.cols() = 2");
}
