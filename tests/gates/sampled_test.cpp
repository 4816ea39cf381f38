// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <vector>

#include <comet/gates/sampled.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using comet::test::parameter;
using comet::test::random_matrix;

namespace {

/// A gate on d = 1 whose logits are the given numbers for x = 1.
template <class S = double>
SampledGate<S> gate_of_logits(const std::vector<S>& logits, SampledGateOptions options = {}) {
  options.input_dim = 1;
  options.num_experts = Index(logits.size());
  SampledGate<S> gate(options, RandomKey(0));
  std::copy(logits.begin(), logits.end(), parameter(gate, "weight").data());
  return gate;
}

}  // namespace

TEMPLATE_TEST_CASE("the sampled gate matches the reference for given experts", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  for (const Json& c : test::golden("sampled_gate.json")) {
    const auto n = c.at("n").get<Index>();
    const auto strength = c.at("penalty_upstream").get<double>();
    CAPTURE(n);
    SampledGate<S> gate({.input_dim = c.at("d").get<Index>(),
                         .num_experts = n,
                         .k = c.at("k").get<Index>(),
                         .trimmed_lasso = strength},
                        RandomKey(0));
    parameter(gate, "weight") = test::matrix<S>(c.at("weight"));
    std::vector<ExpertId> drawn;
    for (const Json& set : c.at("sampled"))
      for (const Json& expert : set) drawn.push_back(expert.get<ExpertId>());
    const auto carriers = c.at("carries_gradient").get<std::vector<ExpertId>>();
    const Matrix<S> x = test::matrix<S>(c.at("x"));
    Pass pass(gate);
    Routing<S> routing;
    gate.forward(x, drawn, carriers, routing, pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance);
    const double lasso = strength * c.at("trimmed_lasso").get<double>();
    CHECK(std::abs(double(gate.regularization(pass)) - lasso) <= tolerance * lasso);
    const std::vector<S> dweights = test::entries(routing, test::matrix<S>(c.at("upstream")));
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    gate.backward(x, routing, dweights, dx, pass);
    CHECK(test::relative_error(dx, test::matrix(c.at("grad_x"))) <= tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "weight"),
                               test::matrix(c.at("grad_weight"))) <= tolerance);
  }
}

TEST_CASE("the sampled gate's gradients agree with finite differences", "[gradient]") {
  const Index n = 5, num_samples = 6;
  for (const Index k : {2, 3, 5})
    for (const double lasso : {0.0, 0.7}) {
      CAPTURE(k, lasso);
      SampledGate<double> gate(
          {.input_dim = 3, .num_experts = n, .k = k, .temperature = 0.5, .trimmed_lasso = lasso},
          RandomKey(1));
      test::WithInput model(gate, random_matrix<double>(3, num_samples, 2));
      const Matrix<double> upstream = random_matrix<double>(n, num_samples, 3);
      Pass pass(gate);
      Routing<double> routing;
      gate.forward(model.x, routing, RandomKey(5), pass);
      const std::vector<ExpertId> drawn(routing.experts().begin(), routing.experts().end());
      std::vector<ExpertId> carriers;
      for (Index b = 0; b < num_samples; ++b) carriers.push_back(routing.experts(b)[1]);
      const auto loss = [&] {
        gate.forward(model.x, drawn, carriers, routing, pass);
        return routing.dense(n).cwiseProduct(upstream).sum() + gate.regularization(pass);
      };
      const auto result =
          testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
            pass.borrow(model.of_part(gradients));
            loss();
            gate.backward(model.x, routing, test::entries(routing, upstream),
                          model.of_input(gradients), pass);
          });
      INFO(result.where << ": " << result.analytic << " against " << result.numeric);
      CHECK(result.largest_error <= 1e-6);
    }
}

TEMPLATE_TEST_CASE("the sampled gate obeys the laws of a gate", "", COMET_TEST_SCALARS) {
  for (const Index k : {2, 3, 7})
    for (const double lasso : {0.0, 0.3}) {
      CAPTURE(k, lasso);
      const SampledGate<TestType> gate(
          {.input_dim = 4, .num_experts = 7, .k = k, .temperature = 2, .trimmed_lasso = lasso},
          RandomKey(2));
      test::check_laws(gate);
      const Matrix<TestType> x = random_matrix<TestType>(4, 30, 8);
      CHECK(
          test::same_bits(test::routed(gate.freeze(), x).dense(7), test::routed(gate, x).dense(7)));
    }
  // 64 * 600 * 32 multiply-adds are more than the threshold of 2^20.
  test::check_laws(
      SampledGate<TestType>({.input_dim = 64, .num_experts = 32, .k = 4, .trimmed_lasso = 1},
                            RandomKey(6)),
      {.num_threaded_samples = 600, .differences = false});
}

TEST_CASE("the sampled gate has k experts in every step and takes the k largest afterwards") {
  const SampledGate<double> gate({.input_dim = 3, .num_experts = 9, .k = 3}, RandomKey(1));
  const Matrix<double> x = random_matrix<double>(3, 50, 2);
  const Matrix<double> h =
      parameter(const_cast<SampledGate<double>&>(gate), "weight").transpose() * x;
  Pass pass(gate);
  Routing<double> routing;
  for (int step = 0; step < 5; ++step) {
    gate.forward(x, routing, RandomKey(3).fold(step), pass);
    test::check_rows(routing, 9, 50, 3);
    CHECK(routing.num_entries() == 150);
  }
  gate.route(x, routing, pass);
  for (Index b = 0; b < 50; ++b) {
    double smallest = 1e9;
    for (std::size_t i = 0; i < 3; ++i) {
      smallest = std::min(smallest, h(routing.experts(b)[i], b));
      CHECK(routing.weights(b)[i] == 1.0 / 3);
    }
    CHECK((h.col(b).array() >= smallest - 1e-12).count() == 3);
  }
}

TEST_CASE("the sampled gate draws sets with their probabilities, and each carrier alike") {
  // Shares .5, .3, .2; a pair {i, j} has probability g_i g_j (1 / (1 - g_i) + 1 / (1 - g_j)).
  const std::vector<double> g{0.5, 0.3, 0.2};
  const auto gate = gate_of_logits<double>({std::log(0.5), std::log(0.3), std::log(0.2)});
  const Index count = 40000;
  const Matrix<double> x = Matrix<double>::Ones(1, count);
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(7), pass);
  std::vector<double> pairs(3, 0);  // by the one that is left out
  double first_carries = 0;
  for (Index b = 0; b < count; ++b) {
    const auto experts = routing.experts(b);
    pairs[std::size_t(3 - experts[0] - experts[1])] += 1.0 / double(count);
    const double share = g[std::size_t(experts[0])];
    first_carries +=
        std::abs(routing.weights(b)[0] - share / (1 + share)) < 1e-12 ? 1.0 / double(count) : 0;
  }
  for (std::size_t out = 0; out < 3; ++out) {
    const double gi = g[(out + 1) % 3], gj = g[(out + 2) % 3];
    const double expected = gi * gj * (1 / (1 - gi) + 1 / (1 - gj));
    CHECK(std::abs(pairs[out] - expected) < 4 * std::sqrt(expected / double(count)));
  }
  CHECK(std::abs(first_carries - 0.5) < 4 * 0.5 / std::sqrt(double(count)));
}

TEST_CASE("the sampled gate's draws follow from key and sample, not from the batch") {
  const SampledGate<double> gate({.input_dim = 3, .num_experts = 6}, RandomKey(1));
  const Matrix<double> x = random_matrix<double>(3, 40, 2);
  Pass pass(gate);
  Routing<double> all, again, other, half;
  gate.forward(x, all, RandomKey(1), pass);
  gate.forward(x, again, RandomKey(1), pass);
  gate.forward(x, other, RandomKey(2), pass);
  gate.forward(x.leftCols(20), half, RandomKey(1), pass);
  CHECK(test::same_bits(all.dense(6), again.dense(6)));
  CHECK_FALSE(test::same_bits(all.dense(6), other.dense(6)));
  CHECK(test::same_bits(all.dense(6).leftCols(20), half.dense(6)));
}

TEST_CASE("the sampled gate still draws k experts where all shares but one are 0") {
  const auto gate = gate_of_logits<float>({0, 3000, -1, 1, -2}, {.k = 3, .trimmed_lasso = 1});
  Pass pass(gate);
  Routing<float> routing;
  for (int step = 0; step < 10; ++step) {
    gate.forward(Matrix<float>::Ones(1, 1), routing, RandomKey(1).fold(step), pass);
    const auto experts = routing.experts(0);  // the largest logits, where nothing else is likely
    CHECK(std::vector<ExpertId>(experts.begin(), experts.end()) == std::vector<ExpertId>{0, 1, 3});
    test::check_rows(routing, 5, 1, 3);
    CHECK(gate.regularization(pass) == 0.0F);
  }
}

TEST_CASE("the sampled gate says which features took an expert") {
  const auto gate = gate_of_logits<double>({1, 4, 2, 3});
  const auto explanation = gate.explain(Matrix<double>::Ones(1, 1));
  REQUIRE(explanation.experts.size() == 2);
  CHECK(explanation.experts[0].expert == 1);
  CHECK(explanation.experts[1].expert == 3);
  CHECK(explanation.choices.front().expert == 1);
  CHECK(explanation.choices.front().against == 2);
}

TEST_CASE("the sampled gate refuses what it cannot work with") {
  using Gate = SampledGate<double>;
  const auto make = [](SampledGateOptions options) { return Gate(options, RandomKey(0)); };
  CHECK_THROWS_WITH(make({.num_experts = 4}),
                    "comet::SampledGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 1}),
                    "comet::SampledGate: num_experts is 1, expected at least 2");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 1}),
                    "comet::SampledGate: k is 1, expected at least 2");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 5}),
                    "comet::SampledGate: k is 5, expected at most num_experts = 4");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .temperature = 0}),
                    "comet::SampledGate: temperature is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .trimmed_lasso = -1}),
                    "comet::SampledGate: trimmed_lasso is -1, expected a finite number >= 0");
  const Gate gate = make({.input_dim = 3, .num_experts = 4});
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  Pass pass(gate);
  Routing<double> routing;
  const auto replay = [&](const std::vector<ExpertId>& drawn,
                          const std::vector<ExpertId>& carriers) {
    gate.forward(x, drawn, carriers, routing, pass);
  };
  CHECK_THROWS_WITH(replay({0, 1}, {0, 1}),
                    "comet::SampledGate::forward: drawn.size() is 2, expected k * x.cols() = 4");
  CHECK_THROWS_WITH(replay({0, 1, 2, 3}, {0}),
                    "comet::SampledGate::forward: carrier.size() is 1, expected x.cols() = 2");
  CHECK_THROWS_WITH(replay({0, 1, 2, 2}, {0, 2}),
                    "comet::SampledGate::forward: a drawn expert of sample 1 is 2, expected above "
                    "2 and below num_experts = 4");
  CHECK_THROWS_WITH(replay({0, 1, 2, 4}, {0, 2}),
                    "comet::SampledGate::forward: a drawn expert of sample 1 is 4, expected above "
                    "2 and below num_experts = 4");
  CHECK_THROWS_WITH(replay({0, 1, 2, 3}, {0, 1}),
                    "comet::SampledGate::forward: the carrier of sample 1 is 1, expected one of "
                    "its drawn experts");
  replay({0, 1, 2, 3}, {0, 3});
  CHECK_THROWS(replay({0, 1, 2, 3}, {0, 1}));
  const std::vector<double> dweights(4, 1.0);
  CHECK_THROWS_WITH(gate.backward(x, routing, dweights, no_gradient, pass),
                    "comet::SampledGate::backward: the pass holds no forward(); call it first");
}
