// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <comet/gates/comet.hpp>
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

/// Splits so steep that no sample is left inside the smooth-step.
template <class S>
void saturate(CometGate<S>& gate) {
  if (gate.num_experts() == 1) return;
  parameter(gate, "split.weight") *= S(1e8);
  parameter(gate, "split.bias") *= S(1e8);
}

}  // namespace

TEMPLATE_TEST_CASE("COMET matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  int cases = 0;
  for (const Json& c : test::golden("comet_gate.json")) {
    if (!c.at("permutation").is_null()) continue;  // labels of experts are not the gate's business
    ++cases;
    const auto n = c.at("n").get<Index>();
    const auto k = c.at("k").get<Index>();
    const auto gamma = c.at("gamma").get<double>();
    CAPTURE(n, k, gamma);
    const auto make = [&](double entropy) {
      CometGate<S> gate({.input_dim = c.at("d").get<Index>(),
                         .num_experts = n,
                         .k = k,
                         .gamma = gamma,
                         .entropy = entropy},
                        RandomKey(0));
      for (const std::string group : {"split", "leaf"})
        for (const std::string leaf : {"weight", "bias"}) {
          auto values = parameter(gate, group + "." + leaf);
          const Matrix<S> given = test::matrix<S>(c.at("params").at(group + "_" + leaf));
          REQUIRE(values.size() == given.size());
          std::copy_n(given.data(), given.size(), values.data());
        }
      return gate;
    };
    const Matrix<S> x = test::matrix<S>(c.at("params").at("x"));
    CHECK(test::relative_error(test::routed(make(0), x).dense(n), test::matrix(c.at("weights"))) <=
          tolerance);
    const CometGate<S> penalized = make(1);
    Pass penalty(penalized);
    Routing<S> routing;
    penalized.forward(x, routing, RandomKey(0), penalty);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance);
    const auto regularizer = c.at("regularizer").get<double>();
    CHECK(std::abs(double(penalized.regularization(penalty)) - regularizer) <=
          tolerance * std::max(1.0, regularizer));

    const CometGate<S> gate = make(c.at("regularizer_upstream").get<double>());
    Pass pass(gate);
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    test::add_gradients(gate, x, test::matrix<S>(c.at("upstream")), dx, pass);
    CHECK(test::relative_error(dx, test::matrix(c.at("grads").at("x"))) <= tolerance);
    for (const std::string group : {"split", "leaf"})
      for (const std::string leaf : {"weight", "bias"}) {
        const Matrix<S> actual = test::gradient(gate, pass, group + "." + leaf);
        const Matrix<double> expected = test::matrix(c.at("grads").at(group + "_" + leaf));
        CAPTURE(group, leaf);
        CHECK(test::relative_error(actual.reshaped(), expected.reshaped()) <= tolerance);
      }
  }
  CHECK(cases == 14);
}

TEST_CASE("COMET's gradients agree with finite differences", "[gradient]") {
  for (const Index n : {1, 2, 5, 6, 8})
    for (const Index k : {Index(1), std::min(n, Index(2))})
      for (const double gamma : {1.0, 4.0}) {
        CAPTURE(n, k, gamma);
        CometGate<double> gate(
            {.input_dim = 3, .num_experts = n, .k = k, .gamma = gamma, .entropy = 0.3},
            RandomKey(1));
        if (n > 1) parameter(gate, "split.weight") *= 20.0;
        parameter(gate, "leaf.weight") *= 20.0;
        test::WithInput model(gate, random_matrix<double>(3, 5, 2));
        const Matrix<double> upstream = random_matrix<double>(n, 5, 3);
        Pass pass(gate);
        const auto loss = [&] {
          Routing<double> routing;
          gate.forward(model.x, routing, RandomKey(0), pass);
          return routing.dense(n).cwiseProduct(upstream).sum() + gate.regularization(pass);
        };
        const auto result =
            testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
              pass.borrow(model.of_part(gradients));
              test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
            });
        INFO(result.where << ": " << result.analytic << " against " << result.numeric);
        CHECK(result.largest_error <= 1e-6);
        CHECK(result.num_checked == 4 * (n - 1) * k + 4 * n * k + 15);
      }
}

TEMPLATE_TEST_CASE("COMET's rows obey the laws of a gate, for any n, k and B", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index n : {1, 2, 3, 5, 8, 16, 33})
    for (const Index k : std::set<Index>{1, std::min(n, Index(2)), n})
      for (const Index num_samples : {0, 1, 7}) {
        CAPTURE(n, k, num_samples);
        CometGate<S> gate({.input_dim = 4, .num_experts = n, .k = k}, RandomKey(9));
        const Matrix<S> x = random_matrix<S>(4, num_samples, 10);
        const Routing<S> routing = test::routed(gate, x);
        test::check_rows(routing, n, num_samples, n);
        CHECK(routing.num_entries() == n * num_samples);  // every expert is live at the start
        saturate(gate);
        test::check_rows(test::routed(gate, x), n, num_samples, k);
        CHECK(gate.max_active() == n);
      }
}

TEST_CASE("COMET's experts are numbered from left to right") {
  // A path is a list of splits, to the left (+) or to the right (-). For n = 5 the leaves from left
  // to right are nodes 7, 8, 4, 5, 6 of the heap, for n = 6 nodes 7, 8, 9, 10, 5, 6.
  struct Turn {
    Index node;
    double direction;
  };
  const auto check = [](Index n, const std::vector<std::vector<Turn>>& paths) {
    for (std::size_t expert = 0; expert < paths.size(); ++expert) {
      CAPTURE(n, expert);
      CometGate<double> gate({.input_dim = 1, .num_experts = n, .k = 1}, RandomKey(0));
      parameter(gate, "split.weight").setZero();
      auto bias = parameter(gate, "split.bias");
      bias.setZero();
      for (const Turn& turn : paths[expert]) bias(turn.node, 0) = turn.direction;
      const Routing<double> routing = test::routed(gate, Matrix<double>::Ones(1, 1));
      REQUIRE(routing.num_entries() == 1);
      CHECK(routing.experts()[0] == ExpertId(expert));
      CHECK(routing.weights()[0] == 1.0);
    }
  };
  check(2, {{{0, +1}}, {{0, -1}}});
  check(3, {{{0, +1}, {1, +1}}, {{0, +1}, {1, -1}}, {{0, -1}}});
  check(5, {{{0, +1}, {1, +1}, {3, +1}},
            {{0, +1}, {1, +1}, {3, -1}},
            {{0, +1}, {1, -1}},
            {{0, -1}, {2, +1}},
            {{0, -1}, {2, -1}}});
  check(6, {{{0, +1}, {1, +1}, {3, +1}},
            {{0, +1}, {1, +1}, {3, -1}},
            {{0, +1}, {1, -1}, {4, +1}},
            {{0, +1}, {1, -1}, {4, -1}},
            {{0, -1}, {2, +1}},
            {{0, -1}, {2, -1}}});
}

TEST_CASE("trees of COMET that choose the same expert share one entry") {
  CometGate<double> gate({.input_dim = 2, .num_experts = 4, .k = 3}, RandomKey(4));
  parameter(gate, "split.weight").setZero();
  parameter(gate, "split.bias").setConstant(9);  // all to the left
  const Routing<double> routing = test::routed(gate, random_matrix<double>(2, 5, 1));
  REQUIRE(routing.num_entries() == 5);
  for (const ExpertId e : routing.experts()) CHECK(e == 0);
  for (const double w : routing.weights()) CHECK(std::abs(w - 1) < 1e-15);
}

TEST_CASE("what a sample does not reach in COMET has exactly no gradient") {
  CometGate<double> gate({.input_dim = 3, .num_experts = 8, .k = 1, .entropy = 1.0}, RandomKey(4));
  saturate(gate);
  const Matrix<double> x = random_matrix<double>(3, 1, 1);
  REQUIRE(test::routed(gate, x).num_entries() == 1);
  Pass pass(gate);
  Matrix<double> dx = Matrix<double>::Zero(3, 1);
  test::add_gradients(gate, x, Matrix<double>::Ones(8, 1), dx, pass);
  CHECK(test::gradient(gate, pass, "split.weight").isZero(0));
  CHECK(test::gradient(gate, pass, "split.bias").isZero(0));
  CHECK(dx.isZero(0));
}

TEMPLATE_TEST_CASE("COMET routes a sample alone as in a batch, bit by bit", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index d : {1, 3, 8, 33})
    for (const double steep : {1.0, 40.0}) {
      CAPTURE(d, steep);
      CometGate<S> gate({.input_dim = d, .num_experts = 11, .k = 3}, RandomKey(2));
      parameter(gate, "split.weight") *= S(steep);
      test::check_laws(gate, {.num_samples = 67, .differences = false});
    }
}

TEST_CASE("COMET computes the same bits for any number of threads") {
  CometGate<float> gate({.input_dim = 64, .num_experts = 16, .k = 2, .entropy = 0.1, .spread = 0.1},
                        RandomKey(6));
  parameter(gate, "split.weight") *= 10.0F;
  // 64 * 1000 * (2 trees * 2 * 5 levels) multiply-adds are more than the threshold of 2^20.
  test::check_laws(gate, {.num_threaded_samples = 1000, .differences = false});
}

TEMPLATE_TEST_CASE("COMET keeps forward and backward together", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const CometGate<S> gate({.input_dim = 4, .num_experts = 6, .k = 2, .entropy = 0.1}, RandomKey(3));
  test::check_laws(gate, {.num_samples = 9});
}

TEST_CASE("COMET trains on an empty batch without a complaint") {
  const CometGate<double> gate({.input_dim = 4, .num_experts = 6, .entropy = 1.0}, RandomKey(3));
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> x(4, 0);
  gate.forward(x, routing, RandomKey(0), pass);
  CHECK(routing.num_samples() == 0);
  CHECK(gate.regularization(pass) == 0.0);
  Matrix<double> dx(4, 0);
  gate.backward(x, routing, {}, dx, pass);
  for (const double g : test::gradients_of(gate, pass)) CHECK(g == 0.0);
}

TEMPLATE_TEST_CASE("padding in a batch changes no bit of COMET's training, and is not looked at",
                   "", COMET_TEST_SCALARS) {
  using S = TestType;
  const Index num_samples = 70;  // more than a tile
  CometGate<S> gate({.input_dim = 5, .num_experts = 7, .k = 2, .entropy = 0.3, .spread = 0.2},
                    RandomKey(3));
  parameter(gate, "split.weight") *= S(40);
  Matrix<S> x = random_matrix<S>(5, num_samples, 4);
  std::vector<std::uint8_t> mask;
  Matrix<S> live(5, 0);
  for (Index b = 0; b < num_samples; ++b) {
    mask.push_back(b % 3 != 1);
    if (mask.back() == 0) {
      x.col(b).setConstant(std::numeric_limits<S>::quiet_NaN());
    } else {
      live.conservativeResize(5, live.cols() + 1);
      live.rightCols(1) = x.col(b);
    }
  }
  Pass padded(gate), alone(gate);
  Routing<S> routing, expected;
  gate.forward(Samples<S>(x, {}, mask), routing, RandomKey(1), padded);
  gate.forward(live, expected, RandomKey(1), alone);
  REQUIRE(routing.num_samples() == num_samples);
  CHECK(std::ranges::equal(routing.experts(), expected.experts()));
  CHECK(std::ranges::equal(routing.weights(), expected.weights()));
  for (Index b = 0; b < num_samples; ++b)
    CHECK(routing.experts(b).empty() == (mask[std::size_t(b)] == 0));
  CHECK(gate.regularization(padded) == gate.regularization(alone));

  const std::vector<S> dweights(routing.weights().begin(), routing.weights().end());
  Matrix<S> dx = Matrix<S>::Zero(5, num_samples), expected_dx = Matrix<S>::Zero(5, live.cols());
  gate.backward(Samples<S>(x, {}, mask), routing, dweights, dx, padded);
  gate.backward(live, expected, dweights, expected_dx, alone);
  CHECK(test::same_bits(test::gradients_of(gate, padded), test::gradients_of(gate, alone)));
  for (Index b = 0, i = 0; b < num_samples; ++b) {
    if (mask[std::size_t(b)] == 0) {
      CHECK(dx.col(b).isZero(0));
    } else {
      CHECK(test::same_bits(dx.col(b), expected_dx.col(i++)));
    }
  }

  const std::vector<std::uint8_t> nobody(std::size_t(num_samples), 0);
  gate.forward(Samples<S>(x, {}, nobody), routing, RandomKey(1), padded);
  CHECK(routing.num_samples() == num_samples);
  CHECK(routing.num_entries() == 0);
  CHECK(gate.regularization(padded) == S(0));
}

TEST_CASE("COMET refuses what it cannot work with") {
  using Gate = CometGate<double>;
  const auto make = [](CometGateOptions options) { return Gate(options, RandomKey(0)); };
  CHECK_THROWS_WITH(make({.input_dim = 0, .num_experts = 4}),
                    "comet::CometGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 0}),
                    "comet::CometGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 0}),
                    "comet::CometGate: k is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 5}),
                    "comet::CometGate: k is 5, expected at most num_experts = 4");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .gamma = 0}),
                    "comet::CometGate: gamma is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .entropy = -1}),
                    "comet::CometGate: entropy is -1, expected a finite number >= 0");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = -4}),
                    "comet::CometGate: num_experts is -4, expected at least 1");
  Gate gate = make({.input_dim = 3, .num_experts = 4});
  CHECK_THROWS_WITH(gate.anneal({.gamma = -2}),
                    "comet::CometGate::anneal: gamma is -2, expected a finite number > 0");
  CHECK_THROWS_WITH(gate.anneal({.gamma = 5, .entropy = std::nan("")}),
                    "comet::CometGate::anneal: entropy is nan, expected a finite number >= 0");
  CHECK(gate.options().gamma == 1.0);
  gate.anneal({.gamma = 3});
  CHECK(gate.options().entropy == 0.0);
  gate.anneal({.entropy = 2});
  CHECK(gate.options().gamma == 3.0);
  CHECK(gate.options().entropy == 2.0);
  Pass pass(gate);
  Routing<double> routing;
  for (const bool training : {false, true}) {
    const auto run = [&](const Matrix<double>& x) {
      if (training) {
        gate.forward(x, routing, RandomKey(1), pass);
      } else {
        gate.route(x, routing, pass);
      }
    };
    const std::string where =
        training ? "comet::CometGate::forward: " : "comet::CometGate::route: ";
    CHECK_THROWS_WITH(run(Matrix<double>::Zero(4, 2)),
                      where + "x.rows() is 4, expected input_dim = 3");
    Matrix<double> bad = Matrix<double>::Zero(3, 3);
    bad(2, 2) = std::nan("");
    CHECK_THROWS_WITH(run(bad), where + "x(2, 2) is nan, expected a finite number");
    bad(2, 2) = -std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH(run(bad), where + "x(2, 2) is -inf, expected a finite number");
    CHECK_THROWS_AS(run(bad), NotFinite);
  }
}

TEST_CASE("COMET reports a parameter that is not finite") {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  const Matrix<double> x = random_matrix<double>(3, 2, 1);
  const CometGate<double> good({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(0));
  for (const std::string name : {"split.weight", "split.bias", "leaf.weight", "leaf.bias"}) {
    CAPTURE(name);
    CometGate<double> gate = good;
    parameter(gate, name)(0, 0) = nan;
    CHECK_THROWS_WITH(test::routed(gate, x),
                      "comet::CometGate::route: the logits of sample 0 overflow or a parameter is "
                      "not finite");
    CHECK_NOTHROW(test::routed(good, x));
  }
  CometGate<double> gate = good;
  parameter(gate, "leaf.bias")(1, 0) = infinity;
  CHECK_THROWS_AS(test::routed(gate, x), NotFinite);
}

TEST_CASE("COMET starts as documented, from its key alone") {
  const CometGateOptions options{.input_dim = 5, .num_experts = 7, .k = 2, .gamma = 10};
  CometGate<float> gate(options, RandomKey(1));
  for (const char* name : {"split.weight", "split.bias"}) {
    CHECK(parameter(gate, name).cwiseAbs().maxCoeff() <= 0.1F);
    CHECK(parameter(gate, name).cwiseAbs().maxCoeff() > 0.05F);
  }
  for (const char* name : {"leaf.weight", "leaf.bias"}) {
    CHECK(parameter(gate, name).cwiseAbs().maxCoeff() <= 0.05F);
    CHECK(parameter(gate, name).cwiseAbs().maxCoeff() > 0.02F);
  }
  CHECK(count_parameters(gate) == 2 * 6 * 6 + 2 * 7 * 6);
  CometGate<float> same(options, RandomKey(1));
  CometGate<float> other(options, RandomKey(2));
  CHECK(test::same_bits(test::values_of(gate), test::values_of(same)));
  CHECK_FALSE(test::same_bits(test::values_of(gate), test::values_of(other)));
}
