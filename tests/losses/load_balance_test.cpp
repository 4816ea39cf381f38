// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <type_traits>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/losses/load_balance.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/losses/router_z.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/losses.hpp>
#include <support/model.hpp>

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::Routing;
namespace test = comet::test;

namespace {

/// Difference between the gradient that a loss writes and central differences.
template <class Loss>
double gradient_error(const Matrix<double>& at, Loss loss) {
  test::MatrixModel model(at);
  Matrix<double> gradient(at.rows(), at.cols());
  return comet::testing::check_gradients(
             model, [&] { return loss(model.p, gradient); },
             [&](comet::GradientView<double> gradients) {
               loss(model.p, gradient);
               gradients[0] += gradient;
             })
      .largest_error;
}

/// Sample b goes to experts b mod n .. b+k-1 mod n.
Routing<double> round_robin(Index n, Index k, Index samples) {
  Routing<double> routing;
  routing.clear();
  for (Index b = 0; b < samples; ++b) {
    for (Index i = 0; i < n; ++i)
      if ((i - b % n + n) % n < k) routing.push(comet::ExpertId(i), 1 / double(k));
    routing.end_sample();
  }
  return routing;
}

}  // namespace

TEST_CASE("an even load has load balance 1 and importance 0, with finite gradients") {
  for (const Index k : {1, 2, 4}) {
    const Matrix<double> even = Matrix<double>::Constant(4, 8, 0.25);
    Matrix<double> gradient(4, 8);
    CHECK(comet::load_balance(round_robin(4, k, 8), even, gradient) == Approx(1).epsilon(1e-15));
    CHECK((gradient.array() - 1.0 / 8).abs().maxCoeff() < 1e-15);
    CHECK(comet::importance(even, gradient) == 0);
    CHECK(gradient.isZero(0));
  }
}

TEST_CASE("one expert that gets everything has load balance n and importance n - 1") {
  Routing<double> routing;
  routing.clear();
  for (Index b = 0; b < 6; ++b) {
    routing.push(2, 1.0);
    routing.end_sample();
  }
  Matrix<double> p = Matrix<double>::Zero(5, 6), gradient(5, 6);
  p.row(2).setOnes();
  CHECK(comet::load_balance(routing, p, gradient) == Approx(5));
  CHECK(comet::importance(p, gradient) == Approx(4));
}

TEST_CASE("entries of weight 0 are no load") {
  Routing<double> routing;
  routing.clear();
  routing.push(0, 1.0);
  routing.push(1, 0.0);
  routing.end_sample();
  Matrix<double> p(2, 1), gradient(2, 1);
  p << 0.5, 0.5;
  CHECK(comet::load_balance(routing, p, gradient) == 1);
  CHECK(gradient(0, 0) == 2);
  CHECK(gradient(1, 0) == 0);
}

TEST_CASE("gradients of the balance losses agree with differences") {
  const Matrix<double> p = test::random_matrix<double>(5, 7, 1, 0, 1);
  const auto routing = round_robin(5, 2, 7);
  CHECK(gradient_error(p, [&](const auto& at, auto& gradient) {
          return comet::load_balance(routing, at, gradient);
        }) < 1e-9);
  CHECK(gradient_error(p, [&](const auto& at, auto& gradient) {
          return comet::importance(at, gradient);
        }) < 1e-9);
}

TEMPLATE_TEST_CASE("balance losses without a gradient are those with one, as doubles", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Matrix<S> p = test::random_matrix<S>(7, 9, 1, 0, 1);
  Matrix<S> gradient(7, 9);
  Routing<S> routing;
  for (int b = 0; b < 9; ++b) {
    routing.push(b % 4, S(0.5));
    routing.push(b % 3 + 4, S(0.5));
    routing.end_sample();
  }
  CHECK(comet::load_balance(routing, p, comet::no_gradient) ==
        comet::load_balance(routing, p, gradient));
  CHECK(comet::importance(p, comet::no_gradient) == comet::importance(p, gradient));
  CHECK(comet::router_z(p, comet::no_gradient) == comet::router_z(p, gradient));
  static_assert(std::is_same_v<decltype(comet::load_balance(routing, p, gradient)), double>);
  static_assert(std::is_same_v<decltype(comet::importance(p, gradient)), double>);
  static_assert(std::is_same_v<decltype(comet::router_z(p, gradient)), double>);
  // What is no longer a number of the scalar is refused as before.
  if constexpr (std::is_same_v<S, float>) {
    const Matrix<S> huge = Matrix<S>::Constant(7, 9, S(1e30));
    CHECK_THROWS_WITH(comet::router_z(huge, gradient), "comet::router_z: the loss overflows");
    CHECK_THROWS_WITH(comet::router_z(huge, comet::no_gradient),
                      "comet::router_z: the loss overflows");
  }
}

TEST_CASE("balance losses of nothing are 0, and bad arguments are named") {
  Routing<double> none;
  Matrix<double> empty(3, 0);
  CHECK(comet::load_balance(none, empty, empty) == 0);
  CHECK(comet::importance(empty, empty) == 0);
  Matrix<double> zero = Matrix<double>::Zero(3, 2), gradient(3, 2);
  CHECK(comet::importance(zero, gradient) == 0);
  CHECK(gradient.isZero(0));

  Matrix<double> wrong(2, 2);
  CHECK_THROWS_WITH(comet::importance(zero, wrong),
                    "comet::importance: gradient.rows() is 2, expected probabilities.rows() = 3");
  CHECK_THROWS_AS(comet::load_balance(none, zero, gradient), std::invalid_argument);
  CHECK_THROWS_WITH(
      comet::importance(zero, zero),
      "comet::importance: gradient overlaps probabilities, expected memory of its own");
  CHECK_THROWS_WITH(
      comet::load_balance(round_robin(3, 1, 2), zero, zero),
      "comet::load_balance: gradient overlaps probabilities, expected memory of its own");
  zero(1, 1) = std::nan("");
  CHECK_THROWS_WITH(comet::importance(zero, gradient),
                    "comet::importance: probabilities(1, 1) is nan, expected a finite number");
  CHECK_THROWS_AS(comet::load_balance(round_robin(3, 1, 2), zero, gradient), comet::NotFinite);
  Matrix<double> huge = Matrix<double>::Constant(3, 2, 1e200);
  huge(0, 0) = 3e200;
  Matrix<double> of_huge(3, 2);
  CHECK_THROWS_WITH(comet::importance(huge, of_huge), "comet::importance: the loss overflows");
  huge.setConstant(1e308);
  CHECK_THROWS_WITH(comet::load_balance(round_robin(3, 1, 2), huge, of_huge),
                    "comet::load_balance: the loss overflows");
}

TEST_CASE("the losses of a long batch keep the digits of a short one, in float") {
  // 2^20 times the same two samples: a z-loss summed in float would be 0.8% off.
  const Index samples = Index(1) << 21;
  const auto repeated = [](const Matrix<float>& pair, Index size) {
    return Matrix<float>(pair.replicate(1, size / 2));
  };
  Matrix<float> pair(2, 2);
  pair << 0.7f, 0.3f, 0.4f, 0.6f;
  Matrix<float> gradient(2, samples), short_gradient(2, 2);
  const Matrix<float> p = repeated(pair, samples);
  CHECK(comet::importance(p, gradient) ==
        Approx(comet::importance(pair, short_gradient)).margin(1e-6));
  CHECK(comet::router_z(p, gradient) ==
        Approx(comet::router_z(pair, short_gradient)).epsilon(1e-6));
  comet::Routing<float> routing;
  routing.resize(std::vector<std::int32_t>(std::size_t(samples), 1));
  for (Index b = 0; b < samples; ++b) {
    routing.experts()[std::size_t(b)] = comet::ExpertId(b % 4 == 0);
    routing.weights()[std::size_t(b)] = 1;
  }
  // f = (3/4, 1/4), P = (1/2, 1/2), up to the rounding of the pair.
  CHECK(comet::load_balance(routing, p, gradient) == Approx(1).epsilon(1e-6));
}

TEST_CASE("penalties of a Top-k gate: value, gradient, noise") {
  const Index n = 5, d = 3, samples = 6;
  const Matrix<double> upstream = test::random_matrix<double>(n, samples, 1);
  for (const bool noise : {false, true})
    for (const auto softmax : {comet::TopKSoftmax::selected, comet::TopKSoftmax::all}) {
      CAPTURE(noise);
      comet::TopKGate<double> gate({.input_dim = d,
                                    .num_experts = n,
                                    .k = 2,
                                    .softmax = softmax,
                                    .noise = noise,
                                    .load_balance = 0.5,
                                    .importance = 0.25,
                                    .router_z = 0.125},
                                   RandomKey(3));
      comet::Pass pass(gate);
      Routing<double> routing;
      test::WithInput model(gate, test::random_matrix<double>(d, samples, 2));
      const auto loss = [&] {
        gate.forward(model.x, routing, RandomKey(5), pass);
        return (routing.dense(n).array() * upstream.array()).sum() + gate.regularization(pass);
      };
      const auto result =
          comet::testing::check_gradients(model, loss, [&](comet::GradientView<double> gradients) {
            pass.borrow(model.of_part(gradients));
            loss();
            std::vector<double> dweights;
            for (Index b = 0; b < samples; ++b)
              for (const auto expert : routing.experts(b)) dweights.push_back(upstream(expert, b));
            gate.backward(model.x, routing, dweights, model.of_input(gradients), pass);
          });
      CAPTURE(result.where, result.analytic, result.numeric);
      CHECK(result.largest_error < 1e-8);

      if (noise) continue;
      Matrix<double> h = test::parameter(gate, "weight").transpose() * model.x;
      h.colwise() += test::parameter(gate, "bias").col(0);
      Matrix<double> p = h.array().exp(), gradient(n, samples);
      for (Index b = 0; b < samples; ++b) p.col(b) /= p.col(b).sum();
      loss();
      CHECK(gate.regularization(pass) ==
            Approx(0.5 * comet::load_balance(routing, p, gradient) +
                   0.25 * comet::importance(p, gradient) + 0.125 * comet::router_z(h, gradient)));
    }
  CHECK_THROWS_WITH(
      comet::TopKGate<double>({.input_dim = 2, .num_experts = 2, .load_balance = -1}, RandomKey(0)),
      "comet::TopKGate: load_balance is -1, expected a finite number >= 0");
}

TEST_CASE("a Top-k layer that starts collapsed spreads its load with a balance penalty only") {
  // The bias sends every sample to expert 0; the softmax over the one selected logit is 1, so that
  // the gate learns from the penalty alone.
  const Index n = 4, samples = 128;
  const Matrix<double> x = test::random_matrix<double>(3, samples, 1);
  const Matrix<double> target = x.colwise().sum();
  const auto busiest_share = [&](comet::TopKGateOptions options) {
    comet::TopKGate<double> gate(options, RandomKey(2));
    test::parameter(gate, "bias")(0, 0) = 3;
    std::vector<comet::DenseExpert<double>> experts;
    for (std::uint64_t i = 0; i < std::uint64_t(n); ++i)
      experts.emplace_back(
          comet::DenseExpertOptions{
              .input_dim = 3, .output_dim = 1, .activation = comet::Activation::identity},
          RandomKey(i));
    comet::MoeLayer layer(gate, experts);
    comet::Pass pass(layer);
    comet::Adam adam(layer, {.learning_rate = 0.01});
    Matrix<double> y(1, samples), dy(1, samples);
    for (std::uint64_t step = 0; step < 400; ++step) {
      layer.forward(x, y, RandomKey(step), pass);
      comet::mean_squared_error(y, target, dy);
      layer.backward(x, dy, pass);
      adam.step(layer, pass);
    }
    Eigen::VectorXd load = Eigen::VectorXd::Zero(n);
    for (const auto expert : pass.workspace.routing(0).experts()) load(expert) += 1;
    return load.maxCoeff() / double(samples);
  };
  const comet::TopKGateOptions plain{.input_dim = 3, .num_experts = n, .k = 1};
  comet::TopKGateOptions balanced = plain;
  balanced.load_balance = 0.1;
  CHECK(busiest_share(plain) > 0.9);
  CHECK(busiest_share(balanced) < 0.5);
  comet::TopKGateOptions even = plain;
  even.importance = 0.1;
  CHECK(busiest_share(even) < 0.75);
}
