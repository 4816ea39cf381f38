// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/gates/remoe.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(LoadedGate<ReMoeGate<double>> && Stateful<ReMoeGate<double>>);

namespace {

/// A gate on d = 1 whose logits are the given numbers for x = 1.
ReMoeGate<double> gate_of_logits(const std::vector<double>& logits, ReMoeGateOptions options) {
  options.input_dim = 1;
  options.num_experts = Index(logits.size());
  ReMoeGate<double> gate(options, RandomKey(0));
  parameter(gate, "bias").setZero();
  std::copy(logits.begin(), logits.end(), parameter(gate, "weight").data());
  return gate;
}

}  // namespace

TEST_CASE("ReMoE's weights are the logits above 0") {
  const auto gate = gate_of_logits({1, -1, 0, 3}, {.k = 1});
  Matrix<double> x(1, 3);
  x << 2, 0, -1;
  const auto routing = test::routed(gate, x);
  CHECK(routing.dense(4).col(0) == Vector<double>(Eigen::Vector4d(2, 0, 0, 6)));
  CHECK(routing.experts(0).size() == 2);
  CHECK(routing.experts(1).empty());
  CHECK(routing.dense(4).col(2) == Vector<double>(Eigen::Vector4d(0, 1, 0, 0)));
}

TEST_CASE("ReMoE's penalty counts the load, and its gradient leaves the load alone") {
  // Two samples, n = 3, k = 2: f = n / k * (1, 1/2, 0); the sums of weights are 4, 3, 0.
  auto gate = gate_of_logits({1, 1, -1}, {.k = 2, .sparsity = 0.5});
  parameter(gate, "bias") << 0, -2, -10;
  Matrix<double> x(1, 2);
  x << 1, 3;
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  const double f = 3.0 / 2;
  CHECK(gate.regularization(pass) == Approx(0.5 * (f * 1 * 4 + f * 0.5 * 1) / 2));
  gate.backward(x, routing, std::vector<double>(3, 0.0), no_gradient, pass);
  const Matrix<double> by_bias = test::gradient(gate, pass, "bias");
  CHECK(by_bias(0, 0) == Approx(0.5 * f * 1));
  CHECK(by_bias(1, 0) == Approx(0.5 * f * 0.5 / 2));
  CHECK(by_bias(2, 0) == 0);
}

TEST_CASE("ReMoE's gradients agree with finite differences", "[gradient]") {
  for (const double sparsity : {1e-8, 0.5}) {
    ReMoeGate<double> gate({.input_dim = 3, .num_experts = 5, .sparsity = sparsity}, RandomKey(1));
    test::WithInput model(gate, random_matrix<double>(3, 9, 2));
    const Matrix<double> upstream = random_matrix<double>(5, 9, 3);
    Pass pass(gate);
    const auto loss = [&] {
      Routing<double> routing;
      gate.forward(model.x, routing, RandomKey(5), pass);
      return routing.dense(5).cwiseProduct(upstream).sum() + gate.regularization(pass);
    };
    const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
      pass.borrow(model.of_part(gradients));
      test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
    });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
  }
}

TEMPLATE_TEST_CASE("ReMoE obeys the laws of a gate whose weights are not shares", "",
                   COMET_TEST_SCALARS) {
  const ReMoeGate<TestType> gate({.input_dim = 4, .num_experts = 7, .sparsity = 0.1}, RandomKey(2));
  test::check_laws(gate, {.sums_to_one = false, .at_most_one = false});
  const Matrix<TestType> x = random_matrix<TestType>(4, 30, 8);
  CHECK(test::same_bits(test::routed(gate.freeze(), x).dense(7), test::routed(gate, x).dense(7)));
  // 64 * 600 * 32 multiply-adds are more than the threshold of 2^20.
  test::check_laws(ReMoeGate<TestType>({.input_dim = 64, .num_experts = 32}, RandomKey(6)),
                   {.num_threaded_samples = 600,
                    .sums_to_one = false,
                    .at_most_one = false,
                    .differences = false});
}

TEST_CASE("ReMoE's strength grows while rows are too long and shrinks while they are too short") {
  const std::vector<Index> load(3, 0);
  const auto after = [&](const std::vector<double>& logits, double sparsity) {
    auto gate = gate_of_logits(logits, {.k = 2, .sparsity = sparsity, .growth = 1.5});
    Pass pass(gate);
    Routing<double> routing;
    gate.forward(Matrix<double>::Ones(1, 4), routing, RandomKey(0), pass);
    end_of_step(gate, std::span(load), pass);
    return gate.sparsity();
  };
  CHECK(after({1, 1, 1}, 0.5) == 0.75);
  CHECK(after({1, 1, -1}, 0.5) == 0.5);
  CHECK(after({1, -1, -1}, 0.75) == 0.5);
  CHECK(after({1, 1, 1}, 1e20) == 1e20);
  CHECK(after({-1, -1, -1}, 1e-20) == 1e-20);
}

TEST_CASE("ReMoE comes to k experts per sample by and by") {
  const Index n = 8, k = 2, num_samples = 128;
  ReMoeGate<double> gate({.input_dim = 4, .num_experts = n, .k = k, .sparsity = 1e-4},
                         RandomKey(1));
  Adam adam(gate, {.learning_rate = 3e-3});
  const Matrix<double> x = random_matrix<double>(4, num_samples, 2);
  Pass pass(gate);
  Routing<double> routing;
  const std::vector<Index> load(std::size_t(n), 0);
  double mean = 0;
  for (Index step = 0; step < 1500; ++step) {
    gate.forward(x, routing, RandomKey(0), pass);
    if (step >= 1400) mean += double(routing.num_entries()) / double(num_samples) / 100;
    // The loss wants a sum of weights of 1.
    std::vector<double> dweights;
    for (Index b = 0; b < num_samples; ++b) {
      double sum = 0;
      for (const double weight : routing.weights(b)) sum += weight;
      dweights.resize(dweights.size() + routing.weights(b).size(), (sum - 1) / num_samples);
    }
    gate.backward(x, routing, dweights, no_gradient, pass);
    adam.step(gate, pass);
    gate.end_of_step(load, pass);
  }
  CHECK(mean == Approx(double(k)).epsilon(0.15));
}

TEST_CASE("ReMoE's strength is saved and resumed") {
  ReMoeGate<double> gate({.input_dim = 3, .num_experts = 4, .sparsity = 0.25}, RandomKey(1));
  const auto file = std::filesystem::temp_directory_path() / "comet_remoe_state.safetensors";
  save_tensors(file, state_tensors(gate, "gate."));
  ReMoeGate<double> other({.input_dim = 3, .num_experts = 4}, RandomKey(1));
  load_state(TensorFile(file), other, "gate.");
  CHECK(other.sparsity() == 0.25);
  gate.visit_state([](const char*, std::span<double> values) { values[0] = 0; });
  CHECK_THROWS_WITH(gate.restored(),
                    "comet::ReMoeGate::restored: sparsity is 0, expected in [1e-20, 1e20]");
  save_tensors(file, state_tensors(gate, "gate."));
  CHECK_THROWS_AS(load_state(TensorFile(file), other, "gate."), FileError);
  CHECK(other.sparsity() == 0.25);
  std::filesystem::remove(file);
}

TEST_CASE("ReMoE refuses what it cannot work with") {
  const auto make = [](ReMoeGateOptions options) {
    return ReMoeGate<float>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.num_experts = 4}),
                    "comet::ReMoeGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3}),
                    "comet::ReMoeGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 0}),
                    "comet::ReMoeGate: k is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 5}),
                    "comet::ReMoeGate: k is 5, expected at most num_experts = 4");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .sparsity = 0}),
                    "comet::ReMoeGate: sparsity is 0, expected in [1e-20, 1e20]");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .growth = 1}),
                    "comet::ReMoeGate: growth is 1, expected a finite number > 1");
  auto gate = make({.input_dim = 1, .num_experts = 2, .sparsity = 1e20});
  Pass pass(gate);
  Routing<float> routing;
  CHECK_THROWS_WITH(gate.end_of_step(std::vector<Index>(2, 0), pass),
                    "comet::ReMoeGate::end_of_step: the pass holds no forward(); call it first");
  parameter(gate, "bias").setConstant(1e20F);
  CHECK_THROWS_WITH(gate.forward(Matrix<float>::Zero(1, 2), routing, RandomKey(1), pass),
                    "comet::ReMoeGate::forward: the penalty overflows");
  CHECK_THROWS_AS(gate.forward(Matrix<float>::Zero(1, 2), routing, RandomKey(1), pass), NotFinite);
}
