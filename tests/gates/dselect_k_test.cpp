// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/static_dselect_k.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using comet::DSelectKGate;
using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::RandomKey;
using comet::Routing;
using comet::StaticDSelectKGate;
namespace test = comet::test;

namespace {

/// r_ij of the definition, evaluated for every code without a tree.
double selector(Index code, Index bits, const double* z, double gamma) {
  double product = 1;
  for (Index t = 0; t < bits; ++t) {
    const double s = comet::smooth_step(z[t], gamma);
    product *= ((code >> (bits - 1 - t)) & 1) != 0 ? s : 1 - s;
  }
  return product;
}

}  // namespace

TEMPLATE_TEST_CASE("DSelect-k matches the golden numbers", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  // One case has a bit that is only 4e-5 gamma away from saturation, where the entropy's derivative
  // is -log(1e-6) and a share in float has no correct digit.
  const double gradient_tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  Index num_cases = 0;
  for (const auto& golden : test::golden("dselect_k_gate.json")) {
    if (!golden.at("permutation").is_null()) continue;
    ++num_cases;
    const Index n = golden.at("n"), k = golden.at("k"), d = golden.at("d");
    CAPTURE(n, k, d, golden.at("gamma").get<double>());
    DSelectKGate<S> gate({.input_dim = d,
                          .num_experts = n,
                          .k = k,
                          .gamma = golden.at("gamma"),
                          .entropy = golden.at("regularizer_upstream")},
                         RandomKey(1));
    const auto& params = golden.at("params");
    test::parameter(gate, "bit.weight") = test::matrix<S>(params.at("z_weight"));
    test::parameter(gate, "bit.bias") = test::matrix<S>(params.at("z_bias"));
    test::parameter(gate, "mixture.weight") = test::matrix<S>(params.at("w_weight"));
    test::parameter(gate, "mixture.bias") = test::matrix<S>(params.at("w_bias"));
    const Matrix<S> x = test::matrix<S>(params.at("x"));

    Routing<S> routing;
    Pass pass(gate);
    gate.forward(x, routing, RandomKey(0), pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(golden.at("weights"))) < tolerance);
    const double lambda = golden.at("regularizer_upstream");
    CHECK(double(gate.regularization(pass)) ==
          Approx(lambda * golden.at("regularizer").get<double>()).epsilon(tolerance).margin(1e-6));

    const auto dweights = test::entries(routing, test::matrix<S>(golden.at("upstream")));
    Matrix<S> dx = Matrix<S>::Zero(d, x.cols());
    gate.backward(x, routing, dweights, dx, pass);
    const auto& grads = golden.at("grads");
    CHECK(test::relative_error(test::gradient(gate, pass, "bit.weight"),
                               test::matrix(grads.at("z_weight"))) < gradient_tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "bit.bias"),
                               test::matrix(grads.at("z_bias"))) < gradient_tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "mixture.weight"),
                               test::matrix(grads.at("w_weight"))) < gradient_tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "mixture.bias"),
                               test::matrix(grads.at("w_bias"))) < gradient_tolerance);
    CHECK(test::relative_error(dx, test::matrix(grads.at("x"))) < gradient_tolerance);

    // The reachability penalty: ours is the mean over the batch, and left out if n = 2^m.
    DSelectKGate<S> reaching(
        {.input_dim = d, .num_experts = n, .k = k, .gamma = golden.at("gamma"), .reachability = 1},
        RandomKey(1));
    test::parameter(reaching, "bit.weight") = test::matrix<S>(params.at("z_weight"));
    test::parameter(reaching, "bit.bias") = test::matrix<S>(params.at("z_bias"));
    Pass reaching_pass(reaching);
    reaching.forward(x, routing, RandomKey(0), reaching_pass);
    const bool loses_codes = (n & (n - 1)) != 0;
    const double sum = golden.at("reachability_penalty");
    CHECK(double(reaching.regularization(reaching_pass)) * double(x.cols()) ==
          Approx(loses_codes ? sum : 0.0).epsilon(tolerance));
  }
  CHECK(num_cases == 14);
}

TEST_CASE("a walk over prefixes equals the product over all codes") {
  const Index d = 3;
  for (const Index n : {1, 2, 3, 5, 8, 16, 33})
    for (const Index k : {Index(1), std::min(Index(3), n)})
      for (const double gamma : {0.3, 1.0, 20.0}) {
        CAPTURE(n, k, gamma);
        DSelectKGate<double> gate({.input_dim = d, .num_experts = n, .k = k, .gamma = gamma},
                                  RandomKey(3));
        const Index bits = test::parameter(gate, "bit.bias").rows() / k;
        CHECK(double(bits) == std::max(1.0, std::ceil(std::log2(double(n)))));
        test::parameter(gate, "bit.weight") = test::random_matrix<double>(d, k * bits, 4);
        const Matrix<double> x = test::random_matrix<double>(d, 40, 5);
        const Routing<double> routing = test::routed(gate, x);
        routing.validate("test", n, 40);
        Matrix<double> z = test::parameter(gate, "bit.weight").transpose() * x;
        z.colwise() += test::parameter(gate, "bit.bias").col(0);
        Matrix<double> w = test::parameter(gate, "mixture.weight").transpose() * x;
        w.colwise() += test::parameter(gate, "mixture.bias").col(0);
        Matrix<double> expected = Matrix<double>::Zero(n, 40);
        for (Index b = 0; b < 40; ++b) {
          const Eigen::ArrayXd e = w.col(b).array().exp();
          for (Index i = 0; i < n; ++i)
            for (Index j = 0; j < k; ++j)
              expected(i, b) += e(j) / e.sum() * selector(i, bits, &z(j * bits, b), gamma);
        }
        CHECK(test::relative_error(routing.dense(n), expected) < 1e-12);
        // Nothing is listed that no selector reaches.
        for (const double weight : routing.weights()) CHECK(weight > 0);
      }
}

TEST_CASE("gradients of both forms agree with differences") {
  const Index d = 2, samples = 5;
  for (const Index n : {1, 3, 4, 6}) {
    const Index k = std::min(Index(2), n);
    CAPTURE(n);
    const Matrix<double> upstream = test::random_matrix<double>(n, samples, 1);
    const auto check = [&](auto gate) {
      Pass pass(gate);
      test::WithInput model(gate, test::random_matrix<double>(d, samples, 2));
      const auto forward = [&] {
        Routing<double> routing;
        gate.forward(model.x, routing, RandomKey(0), pass);
        return (routing.dense(n).array() * upstream.array()).sum() + gate.regularization(pass);
      };
      const auto result = comet::testing::check_gradients(
          model, forward, [&](comet::GradientView<double> gradients) {
            pass.borrow(model.of_part(gradients));
            test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
          });
      CAPTURE(result.where, result.analytic, result.numeric);
      CHECK(result.largest_error < 1e-6);
    };
    DSelectKGate<double> gate(
        {.input_dim = d, .num_experts = n, .k = k, .gamma = 4, .entropy = 0.3, .reachability = 0.2},
        RandomKey(7));
    test::parameter(gate, "bit.weight").setRandom();
    check(gate);
    StaticDSelectKGate<double> fixed(
        {.num_experts = n, .k = k, .gamma = 4, .entropy = 0.3, .reachability = 0.2}, RandomKey(7));
    test::parameter(fixed, "bit").setRandom();
    check(fixed);
  }
}

TEST_CASE("the static form has the bits of the conditioned one with weights 0") {
  for (const Index n : {1, 3, 8, 33}) {
    const Index k = std::min(Index(2), n);
    DSelectKGate<float> gate({.input_dim = 4, .num_experts = n, .k = k}, RandomKey(5));
    StaticDSelectKGate<float> fixed({.num_experts = n, .k = k}, RandomKey(6));
    test::parameter(gate, "bit.weight").setZero();
    test::parameter(gate, "mixture.weight").setZero();
    auto z = test::parameter(fixed, "bit");
    z = test::random_matrix<float>(z.rows(), z.cols(), 1);
    test::parameter(gate, "bit.bias") = Eigen::Map<Matrix<float>>(z.data(), z.size(), 1);
    test::parameter(gate, "mixture.bias") = test::parameter(fixed, "mixture");

    const Matrix<float> x = test::random_matrix<float>(4, 70, 9);
    const Routing<float> a = test::routed(gate, x), b = test::routed(fixed, x);
    CHECK(test::same_bits(a.dense(n), b.dense(n)));
    CHECK(a.num_entries() == b.num_entries());
  }
}

TEST_CASE("a saturated row holds at most k codes; mass on codes beyond n is lost") {
  DSelectKGate<double> gate({.input_dim = 1, .num_experts = 5, .k = 2, .gamma = 1}, RandomKey(1));
  test::parameter(gate, "bit.weight").setZero();
  test::parameter(gate, "mixture.weight").setZero();
  test::parameter(gate, "mixture.bias").setZero();
  const auto route = [&](std::vector<double> z) {
    for (std::size_t i = 0; i < z.size(); ++i)
      test::parameter(gate, "bit.bias")(Index(i), 0) = z[i];
    return test::routed(gate, Matrix<double>::Ones(1, 1));
  };
  // Most significant bit first: 001 and 100.
  const auto two = route({-9, -9, 9, 9, -9, -9});
  REQUIRE(two.num_entries() == 2);
  CHECK(two.experts()[0] == 1);
  CHECK(two.experts()[1] == 4);
  CHECK(two.weights()[0] == 0.5);
  // Both on the same code: one entry.
  const auto one = route({-9, 9, 9, -9, 9, 9});
  REQUIRE(one.num_entries() == 1);
  CHECK(one.weights()[0] == 1);
  // 101 is no expert.
  const auto half = route({9, -9, 9, 9, -9, -9});
  REQUIRE(half.num_entries() == 1);
  CHECK(half.experts()[0] == 4);
  CHECK(half.weights()[0] == 0.5);
  CHECK(route({9, 9, 9, 9, 9, 9}).num_entries() == 0);
}

TEST_CASE("threads change no bit, and nothing is allocated twice") {
  const Index d = 64, n = 33, samples = 300;
  const Matrix<float> x = test::random_matrix<float>(d, samples, 1);
  const DSelectKGate<float> start({.input_dim = d,
                                   .num_experts = n,
                                   .k = 4,
                                   .gamma = 0.5,
                                   .entropy = 0.1,
                                   .spread = 0.1,
                                   .reachability = 0.1},
                                  RandomKey(2));
  std::vector<float> reference;
  for (const Index threads : {1, 2, 4}) {
    comet::ThreadPool pool(threads);
    const DSelectKGate<float> gate = start;
    Pass pass(gate, &pool);
    Routing<float> routing;
    Matrix<float> dx = Matrix<float>::Zero(d, samples);
    std::vector<float> dweights;
    const auto step = [&] {
      gate.forward(x, routing, RandomKey(0), pass);
      dweights.assign(routing.weights().begin(), routing.weights().end());
      gate.backward(x, routing, dweights, dx, pass);
    };
    step();
    if (test::can_count_allocations) CHECK(test::count_allocations(step) == 0);
    auto all = test::gradients_of(gate, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    all.insert(all.end(), routing.weights().begin(), routing.weights().end());
    all.push_back(gate.regularization(pass));
    if (threads == 1) reference = all;
    CHECK(test::same_bits(all, reference));
  }
}

TEST_CASE("the reachability penalty brings back a selector that points beyond n") {
  StaticDSelectKGate<double> gate({.num_experts = 3, .k = 1, .reachability = 1e-3}, RandomKey(1));
  test::parameter(gate, "bit").setConstant(0.35);  // nearly all of it on code 3
  comet::Adam<double> adam(gate, {.learning_rate = 0.02});
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> x = Matrix<double>::Zero(1, 4);
  const auto kept = [&] {
    gate.forward(x, routing, RandomKey(0), pass);
    double sum = 0;
    for (const double weight : routing.weights(0)) sum += weight;
    return sum;
  };
  CHECK(kept() < 0.2);
  for (int step = 0; step < 400; ++step) {
    kept();
    gate.backward(x, routing, std::vector<double>(routing.weights().size()), comet::no_gradient,
                  pass);
    adam.step(gate, pass);
  }
  CHECK(kept() > 0.99);
}

TEST_CASE("an empty batch has no penalty") {
  const StaticDSelectKGate<double> gate({.num_experts = 3, .k = 1, .reachability = 1e-3},
                                        RandomKey(1));
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(Matrix<double>(1, 2), routing, RandomKey(0), pass);
  CHECK(gate.regularization(pass) > 0);
  gate.forward(Matrix<double>(1, 0), routing, RandomKey(0), pass);
  CHECK(gate.regularization(pass) == 0);
}

TEST_CASE("a mixture layer takes both forms") {
  const Matrix<double> x = test::random_matrix<double>(4, 9, 1);
  std::vector<comet::DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < 5; ++i)
    experts.emplace_back(comet::DenseExpertOptions{.input_dim = 4, .output_dim = 2}, RandomKey(i));
  const auto run = [&](auto gate) {
    using Layer = comet::MoeLayer<decltype(gate), comet::DenseExpert<double>>;
    const Layer layer({gate}, experts);
    Pass pass(layer);
    Matrix<double> y(2, 9);
    layer.forward(x, y, RandomKey(1), pass);
    Matrix<double> dx = Matrix<double>::Zero(4, 9);
    layer.backward(x, y, dx, pass);
    CHECK(y.allFinite());
    CHECK(dx.norm() > 0);
  };
  run(DSelectKGate<double>({.input_dim = 4, .num_experts = 5}, RandomKey(2)));
  run(StaticDSelectKGate<double>({.num_experts = 5}, RandomKey(2)));
}

TEST_CASE("gamma and entropy may be changed: the gate is then one that began with them") {
  const Matrix<double> x = test::random_matrix<double>(3, 6, 21);
  const auto make = [](double gamma, double entropy) {
    return DSelectKGate<double>(
        {.input_dim = 3, .num_experts = 6, .k = 2, .gamma = gamma, .entropy = entropy},
        RandomKey(5));
  };
  DSelectKGate<double> changed = make(1, 0);
  changed.anneal({.gamma = 0.2});
  changed.anneal({.entropy = 0.7});
  DSelectKGate<double> expected = make(0.2, 0.7);
  std::vector<Matrix<double>> parameters;  // the start depends on gamma
  for_each_parameter(changed,
                     [&](const auto&, const auto& values) { parameters.push_back(values); });
  for_each_parameter(expected, [&, i = std::size_t{0}](const auto&, auto& values) mutable {
    values = parameters[i++];
  });
  Routing<double> found_routing, expected_routing;
  Pass found_pass(changed), expected_pass(expected);
  changed.forward(x, found_routing, RandomKey(1), found_pass);
  expected.forward(x, expected_routing, RandomKey(1), expected_pass);
  CHECK(std::ranges::equal(found_routing.experts(), expected_routing.experts()));
  CHECK(std::ranges::equal(found_routing.weights(), expected_routing.weights()));
  CHECK(changed.regularization(found_pass) == expected.regularization(expected_pass));
  CHECK(changed.regularization(found_pass) != 0);
}

TEST_CASE("padding in a batch changes no bit of both forms' training") {
  const Index num_samples = 70;  // more than a tile
  Matrix<double> x = test::random_matrix<double>(5, num_samples, 4);
  std::vector<std::uint8_t> mask;
  Matrix<double> live(5, 0);
  for (Index b = 0; b < num_samples; ++b) {
    mask.push_back(b % 3 != 1);
    if (mask.back() == 0) {
      x.col(b).setConstant(std::numeric_limits<double>::quiet_NaN());
    } else {
      live.conservativeResize(5, live.cols() + 1);
      live.rightCols(1) = x.col(b);
    }
  }
  const auto check = [&](auto gate) {
    Pass padded(gate), alone(gate);
    Routing<double> routing, expected;
    const comet::Samples<double> samples(x, {}, mask);
    gate.forward(samples, routing, RandomKey(1), padded);
    gate.forward(live, expected, RandomKey(1), alone);
    REQUIRE(routing.num_samples() == num_samples);
    CHECK(std::ranges::equal(routing.experts(), expected.experts()));
    CHECK(std::ranges::equal(routing.weights(), expected.weights()));
    for (Index b = 0; b < num_samples; ++b)
      CHECK(routing.experts(b).empty() == (mask[std::size_t(b)] == 0));
    CHECK(gate.regularization(padded) == gate.regularization(alone));
    const std::vector<double> dweights(routing.weights().begin(), routing.weights().end());
    gate.backward(samples, routing, dweights, comet::no_gradient, padded);
    gate.backward(live, expected, dweights, comet::no_gradient, alone);
    CHECK(test::same_bits(test::gradients_of(gate, padded), test::gradients_of(gate, alone)));

    const std::vector<std::uint8_t> nobody(std::size_t(num_samples), 0);
    gate.forward(comet::Samples<double>(x, {}, nobody), routing, RandomKey(1), padded);
    CHECK(routing.num_samples() == num_samples);
    CHECK(routing.num_entries() == 0);
    CHECK(gate.regularization(padded) == 0);
  };
  DSelectKGate<double> gate({.input_dim = 5, .num_experts = 7, .entropy = 0.3, .reachability = 0.1},
                            RandomKey(3));
  test::parameter(gate, "bit.weight") *= 40.0;
  check(gate);
  check(StaticDSelectKGate<double>({.num_experts = 7, .entropy = 0.3, .reachability = 0.1},
                                   RandomKey(3)));
}

TEST_CASE("misuse of DSelect-k is named") {
  const auto make = [](comet::DSelectKGateOptions options) {
    return DSelectKGate<double>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.input_dim = 2, .num_experts = 2, .k = 3}),
                    "comet::DSelectKGate: k is 3, expected at most num_experts = 2");
  CHECK_THROWS_AS(make({.input_dim = 0, .num_experts = 2}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .num_experts = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .num_experts = 2, .gamma = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .num_experts = 2, .entropy = -1}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .num_experts = 2, .reachability = -1}),
                  std::invalid_argument);

  auto gate = make({.input_dim = 2, .num_experts = 4});
  CHECK_THROWS_WITH(gate.anneal({.gamma = -1}),
                    "comet::DSelectKGate::anneal: gamma is -1, expected a finite number > 0");
  CHECK_THROWS_AS(gate.anneal({.entropy = std::nan("")}), std::invalid_argument);
  CHECK_THROWS_WITH(test::routed(gate, Matrix<double>::Zero(3, 1)),
                    "comet::DSelectKGate::route: x.rows() is 3, expected input_dim = 2");
  Pass pass(gate);
  Routing<double> routing;
  CHECK_THROWS_WITH(
      gate.backward(Matrix<double>::Zero(2, 1), routing, {}, comet::no_gradient, pass),
      "comet::DSelectKGate::backward: the pass holds no forward(); call it first");
  for (const char* name : {"bit.bias", "mixture.bias"})
    for (const double bad : {std::nan(""), -std::numeric_limits<double>::infinity()}) {
      auto broken = gate;
      test::parameter(broken, name)(1, 0) = bad;
      CHECK_THROWS_WITH(test::routed(broken, Matrix<double>::Zero(2, 1)),
                        "comet::DSelectKGate::route: the logits of sample 0 overflow or a "
                        "parameter is not finite");
      CHECK_THROWS_AS(test::routed(broken, Matrix<double>::Zero(2, 1)), comet::NotFinite);
    }
  StaticDSelectKGate<double> fixed({.num_experts = 4}, RandomKey(0));
  CHECK_THROWS_WITH(fixed.anneal({.gamma = 0}),
                    "comet::StaticDSelectKGate::anneal: gamma is 0, expected a finite number > 0");
  const std::vector<std::uint8_t> mask(3, 1);
  CHECK_THROWS_WITH(
      test::routed(fixed, comet::Samples<double>(Matrix<double>::Zero(2, 2), {}, mask)),
      "comet::StaticDSelectKGate::route: samples.mask.size() is 3, expected x.cols() = 2");
  test::parameter(fixed, "mixture")(0, 0) = std::nan("");
  CHECK_THROWS_WITH(test::routed(fixed, Matrix<double>::Zero(2, 1)),
                    "comet::StaticDSelectKGate::route: a parameter is not finite");
}
