// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <limits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::RandomKey;
using comet::Routing;
using comet::SoftmaxGate;
namespace test = comet::test;

static_assert(comet::TrainableGate<SoftmaxGate<float>>);

TEMPLATE_TEST_CASE("the softmax gate is Top-k with k = n", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const Index d = 6, samples = 70;
  const double tolerance = std::is_same_v<S, double> ? 1e-12 : 1e-5;
  for (const Index n : {1, 2, 5, 16, 130}) {
    CAPTURE(n);
    SoftmaxGate<S> gate({.input_dim = d, .num_experts = n}, RandomKey(1));
    comet::TopKGate<S> top({.input_dim = d, .num_experts = n, .k = n}, RandomKey(1));
    const Matrix<S> x = test::random_matrix<S>(d, samples, 2);
    Routing<S> routing, expected;
    Pass pass(gate);
    Pass top_pass(top);
    gate.forward(x, routing, RandomKey(0), pass);
    top.forward(x, expected, RandomKey(0), top_pass);
    CHECK(test::relative_error(routing.dense(n), expected.dense(n)) < tolerance);

    const Matrix<S> dweights = test::random_matrix<S>(n, samples, 3);
    const std::span<const S> entries(dweights.data(), std::size_t(dweights.size()));
    Matrix<S> dx = Matrix<S>::Ones(d, samples), top_dx = Matrix<S>::Ones(d, samples);
    gate.backward(x, routing, entries, dx, pass);
    top.backward(x, expected, entries, top_dx, top_pass);
    CHECK(test::relative_error(dx, top_dx) < tolerance);
    // With one expert there is nothing to learn: the gradient is 0, on both sides to rounding.
    if (n == 1) continue;
    CHECK(test::relative_error(test::gradient(gate, pass, "weight"),
                               test::gradient(top, top_pass, "weight")) < tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "bias"),
                               test::gradient(top, top_pass, "bias")) < tolerance);
  }
}

TEST_CASE("softmax gate gradients agree with differences") {
  SoftmaxGate<double> gate({.input_dim = 3, .num_experts = 4}, RandomKey(1));
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> upstream = test::random_matrix<double>(4, 5, 3);
  test::WithInput model(gate, test::random_matrix<double>(3, 5, 2));
  const auto loss = [&] {
    gate.forward(model.x, routing, RandomKey(0), pass);
    return (routing.dense(4).array() * upstream.array()).sum();
  };
  const auto result =
      comet::testing::check_gradients(model, loss, [&](comet::GradientView<double> gradients) {
        pass.borrow(model.of_part(gradients));
        loss();
        gate.backward(model.x, routing, std::span(upstream.data(), 20), model.of_input(gradients),
                      pass);
      });
  CAPTURE(result.where);
  CHECK(result.largest_error < 1e-8);
}

TEST_CASE("large logits neither overflow nor lose a sample; softmax gate threads change no bit") {
  SoftmaxGate<double> steep({.input_dim = 1, .num_experts = 2}, RandomKey(1));
  test::parameter(steep, "weight") << 1e4, -1e4;
  Routing<double> routing;
  Pass steep_pass(steep);
  steep.route(Matrix<double>::Ones(1, 1), routing, steep_pass);
  CHECK(routing.weights()[0] == 1);
  CHECK(routing.weights()[1] == 0);

  const Index d = 96, n = 70, samples = 400;
  const Matrix<float> x = test::random_matrix<float>(d, samples, 1);
  const SoftmaxGate<float> start({.input_dim = d, .num_experts = n}, RandomKey(2));
  std::vector<float> reference;
  for (const Index threads : {1, 2, 4}) {
    comet::ThreadPool pool(threads);
    Pass pass(start, &pool);
    Routing<float> weights;
    Matrix<float> dx = Matrix<float>::Zero(d, samples);
    const Matrix<float> dweights = test::random_matrix<float>(n, samples, 4);
    start.forward(x, weights, RandomKey(0), pass);
    start.backward(x, weights, std::span(dweights.data(), std::size_t(dweights.size())), dx, pass);
    auto all = test::gradients_of(start, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    all.insert(all.end(), weights.weights().begin(), weights.weights().end());
    if (threads == 1) reference = all;
    CHECK(test::same_bits(all, reference));
  }
}

TEST_CASE("misuse of the softmax gate is named") {
  CHECK_THROWS_AS(SoftmaxGate<float>({.input_dim = 0, .num_experts = 2}, RandomKey(0)),
                  std::invalid_argument);
  CHECK_THROWS_WITH(SoftmaxGate<float>({.input_dim = 2}, RandomKey(0)),
                    "comet::SoftmaxGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_AS(SoftmaxGate<float>({.input_dim = 2, .num_experts = 0}, RandomKey(0)),
                  std::invalid_argument);
  SoftmaxGate<float> gate({.input_dim = 2, .num_experts = 3}, RandomKey(0));
  Routing<float> routing;
  Pass pass(gate);
  CHECK_THROWS_WITH(gate.route(Matrix<float>::Zero(3, 1), routing, pass),
                    "comet::SoftmaxGate::route: x.rows() is 3, expected input_dim = 2");
  CHECK_THROWS_WITH(gate.backward(Matrix<float>::Zero(2, 1), routing, {}, comet::no_gradient, pass),
                    "comet::SoftmaxGate::backward: the pass holds no forward(); call it first");
  for (const float bad : {std::nanf(""), -std::numeric_limits<float>::infinity()}) {
    test::parameter(gate, "bias")(1, 0) = bad;
    CHECK_THROWS_WITH(gate.route(Matrix<float>::Zero(2, 2), routing, pass),
                      "comet::SoftmaxGate::route: the logits of sample 0 overflow or a parameter "
                      "is not finite");
  }
}

TEST_CASE("Softmax: backward refuses arguments that do not belong together", "[error]") {
  SoftmaxGate<double> gate({.input_dim = 3, .num_experts = 4}, RandomKey(1));
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> x = Matrix<double>::Ones(3, 5);
  const std::vector<double> dweights(20, 1.0);
  const auto backward = [&](Index rows, Index cols, std::size_t count) {
    Matrix<double> dx = Matrix<double>::Zero(rows, cols);
    gate.backward(x, routing, std::span<const double>(dweights).first(count), dx, pass);
  };
  CHECK_THROWS_WITH(backward(3, 5, 20),
                    "comet::SoftmaxGate::backward: the pass holds no forward(); call it first");
  gate.forward(x, routing, RandomKey(2), pass);
  CHECK_THROWS_WITH(backward(2, 5, 20),
                    "comet::SoftmaxGate::backward: dx.rows() is 2, expected x.rows() = 3");
  CHECK_THROWS_WITH(backward(3, 4, 20),
                    "comet::SoftmaxGate::backward: dx.cols() is 4, expected x.cols() = 5");
  CHECK_THROWS_WITH(
      backward(3, 5, 19),
      "comet::SoftmaxGate::backward: dweights.size() is 19, expected routing.num_entries() = 20");
  CHECK_NOTHROW(backward(3, 5, 20));
  CHECK_NOTHROW(backward(0, 0, 20));
}
