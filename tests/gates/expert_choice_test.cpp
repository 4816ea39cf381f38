// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/expert_choice.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(!FreezableGate<ExpertChoiceGate<double>>);

TEMPLATE_TEST_CASE("expert choice matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  for (const Json& c : test::golden("expert_choice_gate.json")) {
    const auto n = c.at("n").get<Index>();
    const auto capacity = c.at("capacity").get<Index>();
    const Matrix<S> x = test::matrix<S>(c.at("x"));
    CAPTURE(n, capacity);
    ExpertChoiceGate<S> gate(
        {.input_dim = x.rows(), .num_experts = n, .k = capacity * n / x.cols()}, RandomKey(0));
    REQUIRE(gate.capacity(x.cols()) == capacity);
    parameter(gate, "weight") = test::matrix<S>(c.at("weight"));
    Pass pass(gate);
    Routing<S> routing;
    gate.forward(x, routing, RandomKey(0), pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance);
    const std::vector<S> dweights = test::entries(routing, test::matrix<S>(c.at("upstream")));
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    gate.backward(x, routing, dweights, dx, pass);
    CHECK(test::relative_error(dx, test::matrix(c.at("grad_x"))) <= tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "weight"),
                               test::matrix(c.at("grad_weight"))) <= tolerance);
  }
}

TEST_CASE("expert choice's gradients agree with finite differences", "[gradient]") {
  for (const Index k : {1, 2, 5}) {
    CAPTURE(k);
    ExpertChoiceGate<double> gate({.input_dim = 3, .num_experts = 5, .k = k}, RandomKey(1));
    test::WithInput model(gate, random_matrix<double>(3, 9, 2));
    const Matrix<double> upstream = random_matrix<double>(5, 9, 3);
    Pass pass(gate);
    const auto loss = [&] {
      Routing<double> routing;
      gate.forward(model.x, routing, RandomKey(5), pass);
      return routing.dense(5).cwiseProduct(upstream).sum();
    };
    const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
      pass.borrow(model.of_part(gradients));
      test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
    });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
  }
}

TEMPLATE_TEST_CASE("expert choice obeys the laws of a gate whose rows depend on their batch", "",
                   COMET_TEST_SCALARS) {
  for (const Index k : {1, 3}) {
    const ExpertChoiceGate<TestType> gate({.input_dim = 4, .num_experts = 7, .k = k}, RandomKey(2));
    test::check_laws(gate, {.sums_to_one = false});
  }
  // 64 * 600 * 32 multiply-adds are more than the threshold of 2^20.
  test::check_laws(ExpertChoiceGate<TestType>({.input_dim = 64, .num_experts = 32}, RandomKey(6)),
                   {.num_threaded_samples = 600, .sums_to_one = false, .differences = false});
}

TEST_CASE("every expert has the same load by expert choice, whatever the batch") {
  const ExpertChoiceGate<double> gate({.input_dim = 3, .num_experts = 8}, RandomKey(1));
  for (const Index num_samples : {0, 1, 2, 3, 7, 16, 50}) {
    const auto routing = test::routed(gate, random_matrix<double>(3, num_samples, 2));
    std::vector<Index> load(8, 0);
    for (const ExpertId expert : routing.experts()) ++load[std::size_t(expert)];
    CHECK(load == std::vector<Index>(8, gate.capacity(num_samples)));
  }
  CHECK(gate.capacity(0) == 0);
  CHECK(gate.capacity(1) == 1);
  CHECK(gate.capacity(16) == 4);
  CHECK(gate.capacity(17) == 4);  // 4.25
  CHECK(gate.capacity(18) == 5);  // 4.5
}

TEST_CASE("of equal scores, expert choice takes the earlier sample") {
  const ExpertChoiceGate<double> gate({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(1));
  const auto routing = test::routed(gate, Matrix<double>::Ones(3, 6));
  for (Index b = 0; b < 6; ++b) CHECK(routing.experts(b).size() == (b < 3 ? 4 : 0));
}

TEST_CASE("that rows depend on their batch is known of a gate in a wrapper, and it is not frozen") {
  const ExpertChoiceGate<double> gate({.input_dim = 3, .num_experts = 4}, RandomKey(1));
  CHECK(depends_on_batch(gate));
  CHECK(depends_on_batch(AnyGate<double>(gate)));
  CHECK(depends_on_batch(PermutedGate(gate)));
  CHECK(depends_on_batch(PermutedGate(AnyGate<double>(gate))));
  CHECK_THROWS_WITH(AnyGate<double>(gate).freeze(),
                    "comet::AnyGate::freeze: an expert_choice gate cannot be frozen: its rows "
                    "depend on their batch");
}

TEST_CASE("a layer of expert choice predicts a batch as a whole") {
  const RandomKey key(1);
  MoeLayer layer(
      ExpertChoiceGate<double>({.input_dim = 3, .num_experts = 4}, key.fold(0)),
      make_experts<DenseExpert<double>>(4, {.input_dim = 3, .output_dim = 2}, key.fold(1)));
  const Matrix<double> x = random_matrix<double>(3, 8, 2);
  Pass pass(layer);
  Matrix<double> whole(2, 8), alone(2, 1);
  layer.predict(x, whole, pass);
  layer.predict(x.leftCols(1), alone, pass);
  CHECK_FALSE(test::same_bits(whole.leftCols(1), alone));
  const auto mix = [&](const Routing<double>& routing, Index b) {
    Matrix<double> sum = Matrix<double>::Zero(2, 1);
    for (std::size_t i = 0; i < routing.experts(b).size(); ++i) {
      const auto& expert = layer.experts()[std::size_t(routing.experts(b)[i])];
      sum += routing.weights(b)[i] *
             (expert.weight().transpose() * x.col(b) + expert.bias()).cwiseMax(0);
    }
    return sum;
  };
  const auto routing = test::routed(layer.gates()[0], x);
  for (Index b = 0; b < 8; ++b) CHECK((whole.col(b) - mix(routing, b)).norm() <= 1e-12);
}

TEST_CASE("expert choice refuses what it cannot work with") {
  const auto make = [](ExpertChoiceGateOptions options) {
    return ExpertChoiceGate<double>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.num_experts = 4}),
                    "comet::ExpertChoiceGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3}),
                    "comet::ExpertChoiceGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 0}),
                    "comet::ExpertChoiceGate: k is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 5}),
                    "comet::ExpertChoiceGate: k is 5, expected at most num_experts = 4");
  auto gate = make({.input_dim = 3, .num_experts = 4});
  parameter(gate, "weight")(2, 0) = std::nan("");
  CHECK_THROWS_WITH(test::routed(gate, Matrix<double>::Zero(3, 2)),
                    "comet::ExpertChoiceGate::route: the logits of sample 0 overflow or a "
                    "parameter is not finite");
}
