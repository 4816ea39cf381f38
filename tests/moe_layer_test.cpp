// SPDX-License-Identifier: MIT
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
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

/// The gradients of a layer of dense experts, by their parameters and by the weights of the gates.
template <class S, class Layer, class Gradients>
void check_gradients_of(const Layer& layer, Pass<Layer>& pass, const Gradients& expected,
                        const std::vector<Matrix<S>>& weights, double tolerance) {
  for (Index e = 0; e < layer.num_experts(); ++e) {
    const std::string name = "experts." + std::to_string(e) + ".";
    CHECK(test::relative_error(test::gradient(layer, pass, name + "weight"),
                               expected.weights[std::size_t(e)]) <= tolerance);
    CHECK(test::relative_error(test::gradient(layer, pass, name + "bias"),
                               expected.biases[std::size_t(e)]) <= tolerance);
  }
  for (std::size_t t = 0; t < weights.size(); ++t) {
    const FixedGate<S>& gate = layer.gates()[t];
    const auto& dweights = gate.dweights();
    REQUIRE(Index(dweights.size()) == gate.routing().num_entries());
    Routing<S> derivatives = gate.routing();
    std::copy(dweights.begin(), dweights.end(), derivatives.weights().begin());
    // Where the weight is 0 the expert was not evaluated, and the derivative is not known.
    const Matrix<S> used = (weights[t].array() != S(0)).template cast<S>();
    CHECK(test::relative_error(derivatives.dense(layer.num_experts()),
                               expected.gates[t].cwiseProduct(used)) <= tolerance);
  }
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
  const MoeLayer layer(gates, dense_experts<S>(n, {.input_dim = d, .output_dim = m}));
  const test::DenseReference<S> reference(layer.experts());
  const Matrix<S> x = random_matrix<S>(d, num_samples, 1);
  const Matrix<S> dy = random_matrix<S>(m, tasks * num_samples, 2);
  Pass pass(layer);

  Matrix<S> predicted = Matrix<S>::Constant(m, tasks * num_samples, S(7));
  layer.predict(x, predicted, pass);
  Matrix<S> y = Matrix<S>::Constant(m, tasks * num_samples, S(7));
  layer.forward(x, y, RandomKey(0), pass);
  CHECK(test::same_bits(y, predicted));
  CHECK(test::relative_error(y, reference.forward(x, weights)) <= tolerance);

  const Matrix<S> before = random_matrix<S>(d, num_samples, 3);  // dx is added to
  Matrix<S> dx = before, dy_given = dy;
  layer.backward(x, dy_given, dx, pass);
  CHECK(test::same_bits(dy_given, dy));
  const auto expected = reference.backward(x, weights, dy);
  CHECK(test::relative_error(Matrix<S>(dx - before), expected.x) <= tolerance);
  check_gradients_of(layer, pass, expected, weights, tolerance);

  // The same without dx.
  const std::vector<S> gradients = test::gradients_of(layer, pass);
  test::clear_gradients(layer, pass);
  layer.forward(x, y, RandomKey(0), pass);
  layer.backward(x, dy, pass);
  CHECK(test::same_bits(test::gradients_of(layer, pass), gradients));
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
    const MoeLayer layer(gates, experts);
    Pass pass(layer);
    Matrix<double> x = random_matrix<double>(2, num_samples, 3);
    for (Index b = 0; b < num_samples; ++b) x(0, b) = double(b + 1);
    Matrix<double> y(2, 2 * num_samples);

    layer.predict(x, y, pass);
    CHECK(evaluations->forward == expected);
    evaluations->forward.clear();
    layer.forward(x, y, RandomKey(1), pass);
    CHECK(evaluations->forward == expected);
    CHECK(pass.workspace.plan().num_pairs() == Index(expected.size()));
    for (Index t = 0; t < 2; ++t)
      for (Index b = 0; b < num_samples; ++b)
        CHECK(y.col(t * num_samples + b).isApprox(mixed(t, b) * x.col(b), 1e-12));

    Matrix<double> dx = Matrix<double>::Zero(2, num_samples);
    layer.backward(x, Matrix<double>::Ones(2, 2 * num_samples), dx, pass);
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
    MoeLayer layer(gates,
                   dense_experts<double>(5, {.input_dim = 3, .output_dim = 4, .dropout = 0.25}));
    test::WithInput model(layer, random_matrix<double>(3, 6, 8));
    const Matrix<double> dy = random_matrix<double>(4, Index(tasks) * 6, 9);
    Matrix<double> y(4, Index(tasks) * 6);
    Pass pass(layer);
    const auto loss = [&] {
      layer.forward(model.x, y, RandomKey(3), pass);
      return y.cwiseProduct(dy).sum() + layer.regularization(pass);
    };
    const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
      loss();
      pass.borrow(model.of_part(gradients));
      layer.backward(model.x, dy, model.of_input(gradients), pass);
    });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
    CHECK(result.num_checked == count_parameters(layer) + 18);
  }
}

TEST_CASE("experts may be of different sizes inside: outputs and gradients equal the dense ones") {
  const Index d = 4, m = 3, num_samples = 50;
  std::vector<MlpExpert<double>> experts;
  for (const Index hidden : {8, 64, 1, 21})
    experts.emplace_back(MlpExpertOptions{.input_dim = d, .hidden_dim = hidden, .output_dim = m},
                         RandomKey(std::uint64_t(hidden)));
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full}) {
    CAPTURE(int(load));
    const FixedGate<double> gate(4, test::make_routing<double>(load, 4, num_samples, RandomKey(1)));
    const Matrix<double> weights = gate.routing().dense(4);
    const MoeLayer layer(gate, experts);
    const test::MlpReference<double> reference(experts);
    const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
    const Matrix<double> dy = random_matrix<double>(m, num_samples, 3);
    Matrix<double> y(m, num_samples), dx = Matrix<double>::Zero(d, num_samples);
    Pass pass(layer);
    layer.predict(x, y, pass);
    CHECK(test::relative_error(y, reference.forward(x, weights)) <= 1e-12);
    layer.forward(x, y, RandomKey(4), pass);
    CHECK(test::relative_error(y, reference.forward(x, weights)) <= 1e-12);
    layer.backward(x, dy, dx, pass);
    const auto expected = reference.backward(x, weights, dy);
    CHECK(test::relative_error(dx, expected.x) <= 1e-12);
    for (std::size_t e = 0; e < 4; ++e) {
      const auto gradient = [&](const char* name) {
        return test::gradient(layer, pass, "experts." + std::to_string(e) + "." + name);
      };
      CHECK(test::relative_error(gradient("hidden.weight"), expected.experts[e].hidden_weight) <=
            1e-12);
      CHECK(test::relative_error(gradient("hidden.bias"), expected.experts[e].hidden_bias) <=
            1e-12);
      CHECK(test::relative_error(gradient("output.weight"), expected.experts[e].output_weight) <=
            1e-12);
      CHECK(test::relative_error(gradient("output.bias"), expected.experts[e].output_bias) <=
            1e-12);
    }
  }
}

TEST_CASE("ids travel with the features: a hashed layer is the mixture of the ids' experts") {
  const Index n = 4, num_samples = 30;
  const HashGate<double> gate({.num_experts = n, .num_ids = 12}, RandomKey(1));
  const auto experts = dense_experts<double>(n, {.input_dim = 3, .output_dim = 2});
  const MoeLayer layer(gate, experts);
  const test::DenseReference<double> reference(experts);
  const Matrix<double> x = random_matrix<double>(3, num_samples, 1);
  const Matrix<double> dy = random_matrix<double>(2, num_samples, 2);
  std::vector<std::int32_t> ids;
  for (std::int32_t b = 0; b < num_samples; ++b) ids.push_back(b * 5 % 12);
  Matrix<double> y(2, num_samples), dx = Matrix<double>::Zero(3, num_samples);
  Pass pass(layer);
  layer.forward(Samples{x, ids}, y, RandomKey(3), pass);
  layer.backward(Samples{x, ids}, dy, dx, pass);
  const std::vector<Matrix<double>> weights = {pass.workspace.routing().dense(n)};
  for (Index b = 0; b < num_samples; ++b) CHECK(weights[0].col(b).sum() == 1.0);
  for (Index b = 12; b < num_samples; ++b)  // the ids come again
    CHECK(test::same_bits(weights[0].col(b), weights[0].col(b - 12)));
  CHECK(test::relative_error(y, reference.forward(x, weights)) <= 1e-12);
  CHECK(test::relative_error(dx, reference.backward(x, weights, dy).x) <= 1e-12);
  // A Top-k gate beside them takes no notice of ids.
  const MoeLayer other(TopKGate<double>({.input_dim = 3, .num_experts = n, .k = 2}, RandomKey(1)),
                       experts);
  Pass plain(other), with_ids(other);
  Matrix<double> again = y;
  other.predict(x, y, plain);
  other.predict(Samples{x, ids}, again, with_ids);
  CHECK(test::same_bits(y, again));
}

TEST_CASE("experts and gates may look at different inputs, in a layer built from stages") {
  const Index n = 4, num_samples = 6;
  TopKGate<double> gate({.input_dim = 2, .num_experts = n, .k = 2}, RandomKey(0));
  const ExpertBank bank(dense_experts<double>(n, {.input_dim = 3, .output_dim = 2}));
  const Matrix<double> x = random_matrix<double>(3, num_samples, 1);
  test::WithInput model(gate, random_matrix<double>(2, num_samples, 2));
  const Matrix<double> dy = random_matrix<double>(2, num_samples, 3);
  Matrix<double> y(2, num_samples), dx = Matrix<double>::Zero(3, num_samples);
  Pass gate_pass(gate);
  Pass bank_pass(bank);
  Routing<double> routing;
  DispatchPlan plan;
  Columns<double> columns, outputs, doutputs, dcolumns;
  AlignedVector<double> dweights;
  const auto loss = [&] {
    gate.forward(model.x, routing, RandomKey(3), gate_pass);
    plan.build(routing, n, bank.column_multiple());
    gather(x, plan, columns);
    bank.forward(plan, columns, outputs, RandomKey(4), bank_pass);
    combine(outputs, plan, routing, y);
    return y.cwiseProduct(dy).sum();
  };
  const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
    loss();
    spread(dy, plan, routing, outputs, doutputs, dweights);
    bank.backward(plan, columns, outputs, doutputs, dcolumns, bank_pass);
    gather_back(dcolumns, plan, dx);
    gate_pass.borrow(model.of_part(gradients));
    gate.backward(model.x, routing, dweights, model.of_input(gradients), gate_pass);
    CHECK(model.of_input(gradients).cwiseAbs().maxCoeff() > 0);
  });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-6);
  CHECK(result.num_checked == count_parameters(gate) + 12);
  const test::DenseReference<double> reference(bank.experts());
  loss();
  const std::vector<Matrix<double>> weights = {routing.dense(n)};
  CHECK(test::relative_error(dx, reference.backward(x, weights, dy).x) <= 1e-12);
}

TEMPLATE_TEST_CASE("a masked sample gives 0 and changes nothing else, whatever it holds", "",
                   FixedGate<double>, TopKGate<double>, CometGate<double>) {
  using Gate = TestType;
  const Index n = 4, d = 5, m = 3, whole = 23;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto experts = dense_experts<double>(n, {.input_dim = d, .output_dim = m});
  // The batch with padding in it, and the samples that are none, side by side.
  std::vector<std::uint8_t> mask;
  std::vector<Index> live;
  for (Index b = 0; b < whole; ++b) {
    mask.push_back(b % 3 == 1 ? 0 : 1);
    if (mask.back() != 0) live.push_back(b);
  }
  const auto count = Index(live.size());
  Matrix<double> x = random_matrix<double>(d, whole, 1), dy = random_matrix<double>(m, whole, 2);
  const Matrix<double> x_live = x(Eigen::seqN(Index(0), x.rows()), live),
                       dy_live = dy(Eigen::seqN(Index(0), dy.rows()), live);
  for (Index b = 0; b < whole; ++b)
    if (mask[std::size_t(b)] == 0) {
      x.col(b).setConstant(nan);
      dy.col(b).setConstant(nan);
    }
  const auto gates = [&]() -> std::pair<Gate, Gate> {  // for the batch, and for those that count
    if constexpr (std::is_same_v<Gate, FixedGate<double>>) {
      const auto all = test::make_routing<double>(Load::random, n, whole, RandomKey(3));
      Routing<double> some;
      for (const Index b : live) {
        for (std::size_t i = 0; i < all.experts(b).size(); ++i)
          some.push(all.experts(b)[i], all.weights(b)[i]);
        some.end_sample();
      }
      return {Gate(n, all), Gate(n, some)};
    } else {
      typename Gate::Options options{.input_dim = d, .num_experts = n, .k = 2};
      if constexpr (std::is_same_v<Gate, CometGate<double>>) options.entropy = 0.1;
      const Gate gate(options, RandomKey(3));
      return {gate, gate};
    }
  }();
  const MoeLayer layer(gates.first, experts), expected(gates.second, experts);
  Pass pass(layer), expected_pass(expected);
  Matrix<double> y = Matrix<double>::Constant(m, whole, 7), y_live(m, count);
  const auto same_outputs = [&] {
    CHECK(test::same_bits(Matrix<double>(y(Eigen::seqN(Index(0), y.rows()), live)), y_live));
    for (Index b = 0; b < whole; ++b)
      if (mask[std::size_t(b)] == 0) CHECK(y.col(b).isZero(0));
  };
  layer.predict(Samples{x, {}, mask}, y, pass);
  expected.predict(x_live, y_live, expected_pass);
  same_outputs();

  y.setConstant(7);
  layer.forward(Samples{x, {}, mask}, y, RandomKey(4), pass);
  expected.forward(x_live, y_live, RandomKey(4), expected_pass);
  same_outputs();
  CHECK(layer.regularization(pass) == expected.regularization(expected_pass));

  Matrix<double> dx = Matrix<double>::Constant(d, whole, 0.5);
  Matrix<double> dx_live = Matrix<double>::Constant(d, count, 0.5);
  layer.backward(Samples{x, {}, mask}, dy, dx, pass);
  expected.backward(x_live, dy_live, dx_live, expected_pass);
  CHECK(test::same_bits(Matrix<double>(dx(Eigen::seqN(Index(0), dx.rows()), live)), dx_live));
  for (Index b = 0; b < whole; ++b)
    if (mask[std::size_t(b)] == 0) CHECK((dx.col(b).array() == 0.5).all());
  CHECK(test::same_bits(test::gradients_of(layer, pass),
                        test::gradients_of(expected, expected_pass)));

  // Nobody counts: everything is 0, and nothing is refused.
  std::fill(mask.begin(), mask.end(), std::uint8_t(0));
  layer.forward(Samples{x, {}, mask}, y, RandomKey(4), pass);
  CHECK(y.isZero(0));
  test::clear_gradients(layer, pass);
  layer.backward(Samples{x, {}, mask}, dy, dx, pass);
  for (const double g : test::gradients_of(layer, pass)) CHECK(g == 0.0);
}

TEST_CASE("two forwards of one constant layer in two passes have their own backwards") {
  const Index n = 4, d = 3, m = 2;
  std::vector<TopKGate<double>> gates =
      make_gates<TopKGate<double>>(2, {.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1));
  const MoeLayer layer(gates,
                       dense_experts<double>(n, {.input_dim = d, .output_dim = m, .dropout = .3}));
  const Matrix<double> x1 = random_matrix<double>(d, 7, 1), x2 = random_matrix<double>(d, 12, 2);
  const Matrix<double> dy1 = random_matrix<double>(m, 14, 3), dy2 = random_matrix<double>(m, 24, 4);
  Matrix<double> y1(m, 14), y2(m, 24);
  const auto alone = [&](const Matrix<double>& x, const Matrix<double>& dy, RandomKey key) {
    Pass pass(layer);
    Matrix<double> y(m, dy.cols()), dx = Matrix<double>::Zero(d, x.cols());
    layer.forward(x, y, key, pass);
    layer.backward(x, dy, dx, pass);
    auto all = test::gradients_of(layer, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    return all;
  };
  Pass first(layer), second(layer);
  Matrix<double> dx1 = Matrix<double>::Zero(d, 7), dx2 = Matrix<double>::Zero(d, 12);
  layer.forward(x1, y1, RandomKey(5), first);
  layer.forward(x2, y2, RandomKey(6), second);
  layer.backward(x1, dy1, dx1, first);
  layer.backward(x2, dy2, dx2, second);
  auto gradients = test::gradients_of(layer, first);
  gradients.insert(gradients.end(), dx1.data(), dx1.data() + dx1.size());
  CHECK(test::same_bits(gradients, alone(x1, dy1, RandomKey(5))));
  gradients = test::gradients_of(layer, second);
  gradients.insert(gradients.end(), dx2.data(), dx2.data() + dx2.size());
  CHECK(test::same_bits(gradients, alone(x2, dy2, RandomKey(6))));
}

namespace {

/// A model of the user's, of which a mixture is the middle.
struct Sandwich {
  using Scalar = double;
  using Mixture = MoeLayer<TopKGate<double>, DenseExpert<double>>;

  Parameter<double> before{2, 3};
  Mixture mixture;
  Parameter<double> after{4, 1};

  template <class F>
  void visit(F&& f) const {
    f("before", before);
    f("mixture", mixture);
    f("after", after);
  }
};

}  // namespace

TEST_CASE("a pass may add to the gradients of a larger model") {
  const Sandwich model{
      .mixture = Sandwich::Mixture(
          TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0)),
          dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}))};
  const auto& layer = model.mixture;
  const Matrix<double> x = random_matrix<double>(3, 9, 1), dy = random_matrix<double>(2, 9, 2);
  Matrix<double> y(2, 9);
  Pass own(layer);
  layer.forward(x, y, RandomKey(1), own);
  layer.backward(x, dy, own);

  Gradients gradients(model);
  const Index tensors = count_tensors(layer);
  Pass pass(layer, gradients.view().middle(1, tensors));
  layer.forward(x, y, RandomKey(1), pass);
  layer.backward(x, dy, pass);
  CHECK(test::same_bits(test::values_of(gradients.view().middle(1, tensors)),
                        test::gradients_of(layer, own)));
  CHECK(test::gradient(model, gradients.view(), "before").isZero(0));
  CHECK(test::gradient(model, gradients.view(), "after").isZero(0));
  // A second backward() adds.
  layer.forward(x, y, RandomKey(1), pass);
  layer.backward(x, dy, pass);
  const auto twice = test::values_of(gradients.view().middle(1, tensors));
  const auto once = test::gradients_of(layer, own);
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == Approx(2 * once[i]));

  CHECK_THROWS_WITH(Pass(layer, gradients.view()),
                    "comet::Pass: the gradients are of another model, from experts.0.bias on");
}

TEST_CASE("dropout draws by sample and expert: a smaller batch sees the same") {
  const auto run = [](Index num_samples) {
    const MoeLayer layer(
        FixedGate<double>(3, test::make_routing<double>(Load::full, 3, num_samples, RandomKey(0))),
        dense_experts<double>(3, {.input_dim = 4, .output_dim = 16, .dropout = 0.5}));
    Matrix<double> y(16, num_samples);
    Pass pass(layer);
    const Matrix<double> x = random_matrix<double>(4, 32, 1);
    layer.forward(x.leftCols(num_samples), y, RandomKey(3), pass);
    return y;
  };
  const Matrix<double> all = run(32);
  CHECK(all.leftCols(11).isApprox(run(11), 1e-12));
}

TEST_CASE("dropout of a piece that knows where it begins is that of the whole batch") {
  const MoeLayer layer(
      HashGate<double>({.num_experts = 3, .num_ids = 6}, RandomKey(1)),
      dense_experts<double>(3, {.input_dim = 4, .output_dim = 16, .dropout = 0.5}));
  const Matrix<double> x = random_matrix<double>(4, 32, 1);
  const auto run = [&](Index first, Index num_samples, Index known_first) {
    std::vector<std::int32_t> ids;
    for (Index b = 0; b < num_samples; ++b) ids.push_back(std::int32_t((first + b) % 6));
    Samples<double> samples(x.middleCols(first, num_samples), ids);
    samples.first = known_first;
    Matrix<double> y(16, num_samples);
    Pass pass(layer);
    layer.forward(samples, y, RandomKey(3), pass);
    return y;
  };
  const Matrix<double> all = run(0, 32, 0);
  CHECK(all.rightCols(21) == run(11, 21, 11));
  CHECK(all.rightCols(21) != run(11, 21, 0));
}

TEST_CASE("a layer is a regular value") {
  using Layer = MoeLayer<CometGate<float>, DenseExpert<float>>;
  Layer layer({CometGate<float>({.input_dim = 3, .num_experts = 4}, RandomKey(0))},
              dense_experts<float>(4, {.input_dim = 3, .output_dim = 2}));
  const auto before = test::values_of(layer);
  Layer copy = layer;
  for_each_parameter(copy, [](const ParameterName&, auto& values) { values.setZero(); });
  CHECK(test::same_bits(test::values_of(layer), before));
  copy = layer;
  CHECK(test::same_bits(test::values_of(copy), before));
  std::vector<std::string> names;
  for_each_parameter(layer,
                     [&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
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
  CHECK_THROWS_WITH(Layer({gate}, {}),
                    "comet::ExpertBank: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(Layer({gate}, {expert}),
                    "comet::MoeLayer: gate.num_experts() is 2, expected experts.size() = 1");
  CHECK_THROWS_WITH(
      Layer({gate}, {expert, wide}),
      "comet::ExpertBank: expert.input_dim() is 5, expected that of the first expert = 3");
  CHECK_THROWS_WITH(
      Layer({gate}, {expert, tall}),
      "comet::ExpertBank: expert.output_dim() is 5, expected that of the first expert = 4");
}

TEST_CASE("a layer refuses arguments of the wrong shape, and a backward() without its forward()") {
  const MoeLayer layer(
      std::vector<TopKGate<double>>(
          2, TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0))),
      dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  Pass pass(layer);
  const Matrix<double> x = random_matrix<double>(3, 5, 1);
  Matrix<double> y(2, 10), dx = Matrix<double>::Zero(3, 5);
  const Matrix<double> dy = random_matrix<double>(2, 10, 1);
  const std::string no_forward =
      "comet::MoeLayer::backward: the pass holds no forward(), or a backward() has used it; call "
      "forward() first";

  CHECK_THROWS_WITH(pass.workspace.routing(),
                    "comet::MoeLayer::Workspace::routing: the pass holds no batch; call forward() "
                    "or predict() first");
  CHECK_THROWS_WITH(layer.predict(Matrix<double>::Zero(4, 5), y, pass),
                    "comet::MoeLayer::predict: x.rows() is 4, expected input_dim = 3");
  Matrix<double> wrong_rows(3, 10), wrong_cols(2, 5);
  CHECK_THROWS_WITH(layer.predict(x, wrong_rows, pass),
                    "comet::MoeLayer::predict: y.rows() is 3, expected output_dim = 2");
  CHECK_THROWS_WITH(layer.forward(x, wrong_cols, RandomKey(0), pass),
                    "comet::MoeLayer::forward: y.cols() is 5, expected num_tasks * x.cols() = 10");
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, pass), no_forward);
  layer.predict(x, y, pass);
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, pass), no_forward);
  for (const Index task : {-1, 2})
    CHECK_THROWS_WITH(pass.workspace.routing(task),
                      "comet::MoeLayer::Workspace::routing: task is " + std::to_string(task) +
                          ", expected at least 0 and below num_tasks = 2");

  layer.forward(x, y, RandomKey(0), pass);
  CHECK_THROWS_WITH(
      layer.backward(x, wrong_cols, dx, pass),
      "comet::MoeLayer::backward: dy.cols() is 5, expected num_tasks * x.cols() = 10");
  CHECK_THROWS_WITH(
      layer.backward(x.leftCols(4), dy.leftCols(8), dx, pass),
      "comet::MoeLayer::backward: x.cols() is 4, expected samples of the last forward() = 5");
  Matrix<double> wide_dx = Matrix<double>::Zero(3, 6), tall_dx = Matrix<double>::Zero(4, 5);
  CHECK_THROWS_WITH(layer.backward(x, dy, wide_dx, pass),
                    "comet::MoeLayer::backward: dx.cols() is 6, expected x.cols() = 5");
  CHECK_THROWS_WITH(layer.backward(x, dy, tall_dx, pass),
                    "comet::MoeLayer::backward: dx.rows() is 4, expected x.rows() = 3");
  for (const double g : test::gradients_of(layer, pass)) CHECK(g == 0.0);
  // What was refused has not used it up.
  CHECK_NOTHROW(layer.backward(x, dy, dx, pass));
  CHECK_THROWS_WITH(layer.backward(x, dy, dx, pass), no_forward);

  Matrix<double> bad = x;
  bad(2, 4) = std::nan("");
  layer.forward(x, y, RandomKey(0), pass);
  CHECK_THROWS_WITH(layer.forward(bad, y, RandomKey(0), pass),
                    "comet::MoeLayer::forward: x(2, 4) is nan, expected a finite number");
  CHECK_THROWS_AS(layer.forward(bad, y, RandomKey(0), pass), NotFinite);
  CHECK_THROWS_WITH(layer.predict(bad, y, pass),
                    "comet::MoeLayer::predict: x(2, 4) is nan, expected a finite number");
  const std::vector<std::int32_t> few_ids(4);
  const std::vector<std::uint8_t> long_mask(6, 1);
  CHECK_THROWS_WITH(layer.predict(Samples{x, few_ids}, y, pass),
                    "comet::MoeLayer::predict: samples.ids.size() is 4, expected x.cols() = 5");
  CHECK_THROWS_WITH(layer.predict(Samples{x, {}, long_mask}, y, pass),
                    "comet::MoeLayer::predict: samples.mask.size() is 6, expected x.cols() = 5");
}

TEST_CASE("a forward() that failed leaves nothing for a backward()") {
  const MoeLayer layer(TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0)),
                       dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  // Finite features whose logits are not: it is the gate that sees it.
  auto broken = layer;
  test::parameter(broken, "gates.0.weight").setConstant(1e200);
  const Matrix<double> x = Matrix<double>::Constant(3, 5, 1e200);
  Matrix<double> y(2, 5);
  Pass pass(broken);
  broken.forward(Matrix<double>::Zero(3, 5), y, RandomKey(0), pass);
  CHECK_THROWS_AS(broken.forward(x, y, RandomKey(0), pass), NotFinite);
  CHECK_THROWS_WITH(broken.backward(Matrix<double>::Zero(3, 5), y, pass),
                    ContainsSubstring("the pass holds no forward()"));
}

TEST_CASE("a backward() belongs to the layer and to the samples of its forward()") {
  MoeLayer layer(TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0)),
                 dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  const auto other = layer;
  Matrix<double> x = random_matrix<double>(3, 5, 1), y(2, 5);
  const Matrix<double> dy = random_matrix<double>(2, 5, 2);
  Pass pass(layer);
  layer.forward(x, y, RandomKey(1), pass);
  CHECK_THROWS_WITH(other.backward(x, dy, pass),
                    "comet::MoeLayer::backward: the pass holds a forward() of another layer");
  x(1, 3) = std::nextafter(x(1, 3), 2.0);
  CHECK_THROWS_WITH(layer.backward(x, dy, pass),
                    "comet::MoeLayer::backward: x has changed since forward()");
  x(1, 3) = std::nextafter(x(1, 3), -2.0);
  const Matrix<double> elsewhere = x;  // the same numbers at another place
  CHECK_NOTHROW(layer.backward(elsewhere, dy, pass));
  layer.forward(x, y, RandomKey(1), pass);
  layer = other;  // of the same sizes, at the same place, and yet not what ran
  CHECK_THROWS_WITH(layer.backward(x, dy, pass),
                    "comet::MoeLayer::backward: the pass holds a forward() of another layer");
  layer.forward(x, y, RandomKey(1), pass);
  CHECK_NOTHROW(layer.backward(x, dy, pass));
}

TEST_CASE("features that change places are other samples") {
  const MoeLayer layer(TopKGate<float>({.input_dim = 16, .num_experts = 4, .k = 2}, RandomKey(0)),
                       dense_experts<float>(4, {.input_dim = 16, .output_dim = 2}));
  const Matrix<float> x = random_matrix<float>(16, 5, 1), dy = random_matrix<float>(2, 5, 2);
  Matrix<float> y(2, 5), swapped = x, rotated(16, 5), one_hot = Matrix<float>::Identity(16, 5);
  std::swap(swapped(3, 1), swapped(7, 1));
  rotated << x.bottomRows(12), x.topRows(4);
  Pass pass(layer);
  layer.forward(x, y, RandomKey(1), pass);
  const std::vector<Matrix<float>> others = {
      -x, x.colwise().reverse(), x.rowwise().reverse(), swapped, rotated, x + x};
  for (const Matrix<float>& other : others)
    CHECK_THROWS_WITH(layer.backward(other, dy, pass), ContainsSubstring("x has changed"));
  layer.forward(one_hot, y, RandomKey(1), pass);
  CHECK_THROWS_WITH(layer.backward(one_hot.rowwise().reverse(), dy, pass),
                    ContainsSubstring("x has changed"));
  CHECK_NOTHROW(layer.backward(one_hot, dy, pass));
}

TEST_CASE("a pass whose layer has been changed is refused, not written beyond") {
  const auto layer_of = [](Index n, Index hidden) {
    return MoeLayer(TopKGate<double>({.input_dim = 3, .num_experts = n, .k = 2}, RandomKey(0)),
                    make_experts<MlpExpert<double>>(
                        n, {.input_dim = 3, .hidden_dim = hidden, .output_dim = 2}, RandomKey(1)));
  };
  const Matrix<double> x = random_matrix<double>(3, 5, 1), dy = random_matrix<double>(2, 5, 2);
  Matrix<double> y(2, 5);
  auto layer = layer_of(4, 8);
  const auto larger = layer_of(6, 8);
  Pass pass(layer);
  layer.forward(x, y, RandomKey(1), pass);
  layer.backward(x, dy, pass);
  larger.forward(x, y, RandomKey(1), pass);
  CHECK_THROWS_WITH(larger.backward(x, dy, pass),
                    ContainsSubstring("comet::Pass::gradients: the gradients are of another model, "
                                      "from experts.4."));
  layer.forward(x, y, RandomKey(1), pass);
  layer = layer_of(4, 64);  // it is where it was
  CHECK_THROWS_AS(layer.backward(x, dy, pass), std::invalid_argument);
  Pass fresh(layer);
  layer = layer_of(4, 8);
  layer.forward(x, y, RandomKey(1), fresh);
  layer.experts() = layer_of(4, 64).experts();
  CHECK_THROWS_WITH(layer.backward(x, dy, fresh),
                    ContainsSubstring("comet::ExpertBank::backward: caches of the experts"));
  layer.experts()[1] =
      MlpExpert<double>({.input_dim = 64, .hidden_dim = 8, .output_dim = 2}, RandomKey(2));
  CHECK_THROWS_WITH(layer.predict(x, y, fresh),
                    "comet::ExpertBank::predict: expert.input_dim() is 64, expected that of the "
                    "first expert = 3");
}

TEST_CASE("backward() runs on the threads that its pass has then") {
  const MoeLayer layer(TopKGate<double>({.input_dim = 64, .num_experts = 4, .k = 2}, RandomKey(0)),
                       dense_experts<double>(4, {.input_dim = 64, .output_dim = 64}));
  const Matrix<double> x = random_matrix<double>(64, 200, 1),
                       dy = random_matrix<double>(64, 200, 2);
  Matrix<double> y(64, 200);
  Pass alone(layer), pass(layer);
  layer.forward(x, y, RandomKey(1), alone);
  layer.backward(x, dy, alone);
  {
    ThreadPool gone(3);
    pass.pool = &gone;
    layer.forward(x, y, RandomKey(1), pass);
  }
  ThreadPool pool(2);
  pass.pool = &pool;
  layer.backward(x, dy, pass);
  CHECK(test::gradients_of(layer, pass) == test::gradients_of(layer, alone));
}

TEST_CASE("a layer checks what a gate of the user's returns") {
  Routing<double> routing;
  routing.clear();
  routing.push(1, 0.5);
  routing.push(1, 0.5);
  routing.end_sample();
  const MoeLayer layer(FixedGate<double>(3, routing),
                       dense_experts<double>(3, {.input_dim = 2, .output_dim = 2}));
  Pass pass(layer);
  Matrix<double> y(2, 1), longer(2, 2);
  CHECK_THROWS_WITH(
      layer.predict(Matrix<double>::Zero(2, 1), y, pass),
      "comet::DispatchPlan::build: an expert of routing sample 0 is 1, expected above "
      "1 and below num_experts = 3");
  CHECK_THROWS_WITH(layer.predict(Matrix<double>::Zero(2, 2), longer, pass),
                    "comet::MoeLayer::predict: routing.num_samples() is 1, expected x.cols() = 2");
}

TEST_CASE("mixtures may take the place of x in predict(), and are refused by backward()") {
  const MoeLayer layer(CometGate<double>({.input_dim = 3, .num_experts = 4}, RandomKey(0)),
                       dense_experts<double>(4, {.input_dim = 3, .output_dim = 3}));
  const Matrix<double> x = random_matrix<double>(3, 70, 1), dy = random_matrix<double>(3, 70, 2);
  Matrix<double> y(3, 70), z = x;
  Pass pass(layer);
  layer.predict(x, y, pass);
  layer.predict(z, z, pass);
  CHECK(z == y);
  z = x;
  layer.forward(z, z, RandomKey(1), pass);
  CHECK_THROWS_WITH(layer.backward(z, dy, pass),
                    "comet::MoeLayer::backward: x has changed since forward()");
  CHECK_NOTHROW(layer.backward(x, dy, pass));
}

TEST_CASE("before the first forward() there is no penalty") {
  const MoeLayer layer(
      CometGate<double>({.input_dim = 3, .num_experts = 4, .entropy = 0.1}, RandomKey(0)),
      dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  Pass pass(layer);
  CHECK(layer.regularization(pass) == 0);
  Matrix<double> y(2, 70);
  layer.forward(random_matrix<double>(3, 70, 1), y, RandomKey(1), pass);
  CHECK(layer.regularization(pass) > 0);
  MoeLayer more = layer;  // of two tasks from now on
  more.gates().push_back(layer.gates()[0]);
  CHECK(more.regularization(pass) == layer.regularization(pass));
}

TEST_CASE("dx has memory of its own") {
  const MoeLayer layer(CometGate<double>({.input_dim = 3, .num_experts = 4}, RandomKey(0)),
                       dense_experts<double>(4, {.input_dim = 3, .output_dim = 3}));
  Matrix<double> x = random_matrix<double>(3, 70, 1), dy = random_matrix<double>(3, 70, 2);
  Matrix<double> y(3, 70);
  Pass pass(layer);
  layer.forward(x, y, RandomKey(1), pass);
  CHECK_THROWS_WITH(layer.backward(x, dy, x, pass),
                    "comet::MoeLayer::backward: dx overlaps x, expected memory of its own");
  CHECK_THROWS_WITH(layer.backward(x, dy, dy, pass),
                    "comet::MoeLayer::backward: dx overlaps dy, expected memory of its own");
  Matrix<double> both(6, 70);
  both << x, Matrix<double>::Zero(3, 70);
  CHECK_NOTHROW(layer.backward(both.topRows(3), dy, both.bottomRows(3), pass));
}

TEST_CASE("a gate may be replaced by one for as many experts, not midway") {
  const auto gate = [](Index n, Index k = 2) {
    return CometGate<double>({.input_dim = 3, .num_experts = n, .k = k}, RandomKey(0));
  };
  MoeLayer layer(gate(4), dense_experts<double>(4, {.input_dim = 3, .output_dim = 2}));
  const Matrix<double> x = random_matrix<double>(3, 70, 1), dy = random_matrix<double>(2, 70, 2);
  Matrix<double> y(2, 70), both(2, 140), none(2, 0);
  Pass pass(layer);
  for (const Index n : {3, 8}) {
    layer.gates()[0] = gate(n);
    const std::string is = "gate.num_experts() is " + std::to_string(n);
    CHECK_THROWS_WITH(layer.predict(x, y, pass),
                      "comet::MoeLayer::predict: " + is + ", expected experts.size() = 4");
    CHECK_THROWS_WITH(layer.forward(x, y, RandomKey(1), pass),
                      "comet::MoeLayer::forward: " + is + ", expected experts.size() = 4");
    layer.gates()[0] = gate(4);
    layer.forward(x, y, RandomKey(1), pass);
    layer.gates()[0] = gate(n);
    CHECK_THROWS_WITH(layer.backward(x, dy, pass),
                      "comet::MoeLayer::backward: " + is + ", expected experts.size() = 4");
  }
  for (const Index k : {1, 2, 3}) {
    layer.gates()[0] = gate(4);
    layer.forward(x, y, RandomKey(1), pass);
    layer.gates()[0] = gate(4, k);
    CHECK_THROWS_WITH(MoeLayer(layer).backward(x, dy, pass),
                      "comet::MoeLayer::backward: the pass holds a forward() of another layer");
    Pass other(layer);
    std::swap(pass.workspace, other.workspace);  // without gradients of the other gate
    CHECK_THROWS_WITH(layer.backward(x, dy, other),
                      "comet::CometGate::backward: the pass holds a forward() of another gate");
  }
  layer.forward(x, y, RandomKey(1), pass);
  layer.gates().push_back(gate(4));
  both << dy, dy;
  CHECK_THROWS_WITH(
      layer.backward(x, both, pass),
      "comet::MoeLayer::backward: gates.size() is 2, expected tasks of the last forward() = 1");
  layer.gates().clear();
  CHECK_THROWS_WITH(layer.predict(x, none, pass),
                    "comet::MoeLayer::predict: gates.size() is 0, expected at least 1");
}
