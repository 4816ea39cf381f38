// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <comet/gates/all.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/layers/layer_norm.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>
#include <comet/metrics/routing.hpp>

#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

// The reward for even use as the gates have it: docs/math.md, equation (31).

using namespace comet;
using comet::test::Json;
using comet::test::parameter;
using comet::test::random_matrix;

namespace {

long allocation_count() { return test::allocations.load(); }

/// Minus the entropy of the mean row, for rows that are given.
double minus_spread(const Matrix<double>& rows) {
  return -rows.rowwise().mean().unaryExpr([](double p) { return entropy_term(p); }).sum();
}

/// The penalty of a batch.
template <class G>
double penalty(const G& gate, const Matrix<typename G::Scalar>& x) {
  Pass pass(gate);
  Routing<typename G::Scalar> routing;
  gate.forward(x, routing, RandomKey(3), pass);
  return double(gate.regularization(pass));
}

/// A COMET gate of one feature and two experts: the left leaf for x > 0, the right one for x < 0.
template <class S>
CometGate<S> fork(double entropy, double spread) {
  CometGate<S> gate(
      {.input_dim = 1, .num_experts = 2, .k = 1, .entropy = entropy, .spread = spread},
      RandomKey(1));
  parameter(gate, "split.weight").setConstant(S(10));
  parameter(gate, "split.bias").setZero();
  return gate;
}

// One step of the model that next_character.json describes, as far as its gate can tell.
struct NextCharacter {
  explicit NextCharacter(const Json& golden)
      : c(golden),
        hidden(test::matrix(c.at("first_step").at("hidden"))),
        n(c.at("num_experts").get<Index>()) {}

  [[nodiscard]] Matrix<double> start(const std::string& name) const {
    return test::matrix(c.at("init").at(name));
  }
  [[nodiscard]] LayerNorm<double> norm(const std::string& name) const {
    LayerNorm<double> layer(
        {.input_dim = hidden.rows(), .epsilon = c.at("layer_norm_eps").get<double>()});
    parameter(layer, "weight") = start(name + "_scale");
    parameter(layer, "bias") = start(name + "_shift");
    return layer;
  }
  [[nodiscard]] Matrix<double> gate_input() const {
    Matrix<double> x(hidden.rows(), hidden.cols());
    const auto layer = norm("norm1");
    Pass pass(layer);
    layer.predict(hidden, x, pass);
    return x;
  }
  [[nodiscard]] CometGate<double> gate() const {
    CometGate<double> gate({.input_dim = hidden.rows(),
                            .num_experts = n,
                            .k = c.at("k").get<Index>(),
                            .gamma = c.at("gamma").get<double>(),
                            .entropy = c.at("entropy_strength").get<double>(),
                            .spread = c.at("spread").get<double>()},
                           RandomKey(0));
    for (const std::string part : {"split.weight", "split.bias", "leaf.weight", "leaf.bias"})
      parameter(gate, part).reshaped() = start(golden_name(part)).reshaped();
    return gate;
  }
  static std::string golden_name(std::string part) {
    part[part.find('.')] = '_';
    return "gate_" + part;
  }
  /// What expert i makes of x.
  [[nodiscard]] Matrix<double> expert(Index i, const Matrix<double>& x) const {
    const Index d = x.rows(), h = c.at("expert_hidden").get<Index>();
    const Matrix<double> w1 = start("expert_w1").middleCols(i * h, h);
    const Matrix<double> w2 = start("expert_w2").middleCols(i * d, d);
    Matrix<double> z = w1.transpose() * x;
    z.colwise() += start("expert_b1").col(i);
    z = z.unaryExpr([](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
    Matrix<double> y = w2.transpose() * z;
    y.colwise() += start("expert_b2").col(i);
    return y;
  }
  /// Derivatives of the first step's cross-entropy by the gate's weights, n x B.
  [[nodiscard]] Matrix<double> by_weight(const Matrix<double>& x) const {
    const Matrix<double> weights = test::matrix(c.at("first_step").at("gate_weights"));
    const Matrix<double> logits = test::matrix(c.at("first_step").at("logits"));
    std::vector<Matrix<double>> y;
    Matrix<double> sum = hidden;
    for (Index i = 0; i < n; ++i) {
      y.push_back(expert(i, x));
      sum += y.back() * weights.row(i).asDiagonal();
    }
    std::vector<std::int32_t> target;
    for (const Json& row : c.at("ids").at(0)) target.push_back(row.back().get<std::int32_t>());
    Matrix<double> by_logits(logits.rows(), logits.cols());
    softmax_cross_entropy(logits, target, by_logits);
    const Matrix<double> by_z = start("output_weight") * by_logits;
    Matrix<double> by_sum = Matrix<double>::Zero(sum.rows(), sum.cols());
    const auto layer = norm("norm2");
    Pass pass(layer);
    layer.backward(sum, sum, by_z, by_sum, pass);
    Matrix<double> result(n, x.cols());
    for (Index i = 0; i < n; ++i)
      result.row(i) = y[std::size_t(i)].cwiseProduct(by_sum).colwise().sum();
    return result;
  }

  const Json& c;
  Matrix<double> hidden;
  Index n;
};

}  // namespace

TEST_CASE("COMET's penalty and gradients with a spread match the reference", "[golden]") {
  int cases = 0;
  const Json golden = test::golden("next_character.json");
  for (const Json& c : golden) {
    if (c.at("gate") != "comet") continue;
    cases += c.at("spread").get<double>() > 0;
    const NextCharacter reference(c);
    const Matrix<double> x = reference.gate_input();
    const auto gate = reference.gate();
    Pass pass(gate);
    Routing<double> routing;
    gate.forward(x, routing, RandomKey(0), pass);
    CHECK(test::relative_error(routing.dense(reference.n),
                               test::matrix(c.at("first_step").at("gate_weights"))) <= 1e-9);
    CHECK(gate.regularization(pass) ==
          Approx(c.at("steps").at(0).at("regularizer").get<double>()).epsilon(1e-9));
    const auto dweights = test::entries(routing, reference.by_weight(x));
    gate.backward(x, routing, dweights, no_gradient, pass);
    for (const std::string part : {"split.weight", "split.bias", "leaf.weight", "leaf.bias"}) {
      CAPTURE(part);
      const Matrix<double> expected =
          test::matrix(c.at("first_step").at("grads").at(NextCharacter::golden_name(part)));
      CHECK(test::relative_error(test::gradient(gate, pass, part).reshaped(),
                                 expected.reshaped()) <= 1e-9);
    }
  }
  CHECK(cases == 1);
}

TEMPLATE_TEST_CASE("every gate with a spread obeys the laws, differences included", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const std::string name :
       {"comet", "dselect_k", "static_dselect_k", "softmax", "top_k", "sampled"})
    for (const Index n : {2, 5, 8})
      for (const double entropy : {0.0, 0.4}) {
        CAPTURE(name, n, entropy);
        const auto gate = make_gate<S>(
            name, {.input_dim = 3, .num_experts = n, .entropy = entropy, .spread = 0.7},
            RandomKey(2));
        test::check_laws(gate, {.num_samples = 9,
                                .sums_to_one = name.find("dselect") == std::string::npos,
                                .count_allocations = allocation_count});
      }
}

TEMPLATE_TEST_CASE("a spread pays for even use and for nothing else", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const Matrix<S> one_side = Matrix<S>::Ones(1, 8);
  Matrix<S> both_sides = one_side;
  both_sides.rightCols(4) *= S(-1);
  const auto even = Approx(-0.5 * std::log(2.0)).epsilon(1e-5);
  const auto gate = fork<S>(0.25, 0.5);
  CHECK(penalty(gate, both_sides) == even);  // every row has decided: its entropy is 0
  CHECK(std::abs(penalty(gate, one_side)) < 2e-6);
  // Undecided rows are as even in the mean: with entropy as dear as spread is worth, nothing is
  // won.
  CHECK(penalty(fork<S>(0.5, 0.5), Matrix<S>::Zero(1, 8)) == Approx(0).margin(1e-6));
  CHECK(penalty(fork<S>(0, 0.5), Matrix<S>::Zero(1, 8)) == even);

  DSelectKGate<S> selector({.input_dim = 1, .num_experts = 2, .k = 1, .spread = 0.5}, RandomKey(1));
  parameter(selector, "bit.weight").setConstant(S(10));
  parameter(selector, "bit.bias").setZero();
  CHECK(penalty(selector, both_sides) == even);
  CHECK(std::abs(penalty(selector, one_side)) < 2e-6);
}

TEST_CASE("a spread counts each tree and each selector by itself") {
  // Two trees, or selectors, that send everything to different experts: each is a constant.
  const Matrix<double> x = random_matrix<double>(2, 8, 1);
  CometGate<double> trees({.input_dim = 2, .num_experts = 2, .k = 2, .spread = 1}, RandomKey(1));
  parameter(trees, "split.weight").setZero();
  parameter(trees, "split.bias") << 9, -9;
  CHECK(test::routed(trees, x).num_entries() == 16);
  CHECK(std::abs(penalty(trees, x)) < 1e-5);
  DSelectKGate<double> selectors({.input_dim = 2, .num_experts = 2, .k = 2, .spread = 1},
                                 RandomKey(1));
  parameter(selectors, "bit.weight").setZero();
  parameter(selectors, "bit.bias") << 9, -9;
  CHECK(std::abs(penalty(selectors, x)) < 1e-5);
  // Undecided, each is worth log 2.
  parameter(trees, "split.bias").setZero();
  parameter(selectors, "bit.bias").setZero();
  CHECK(penalty(trees, x) == Approx(-2 * std::log(2.0)).epsilon(1e-5));
  CHECK(penalty(selectors, x) == Approx(-2 * std::log(2.0)).epsilon(1e-5));
}

TEST_CASE("with equal strengths the penalty of a softmax is minus the mutual information") {
  const Index n = 6;
  const Matrix<double> x = 3 * random_matrix<double>(4, 50, 2);
  const SoftmaxGate<double> softmax(
      {.input_dim = 4, .num_experts = n, .entropy = 0.5, .spread = 0.5}, RandomKey(1));
  const auto rows = test::routed(softmax, x);
  const double information = summarize(rows, n).mutual_information;
  REQUIRE(information > 0.05);
  CHECK(penalty(softmax, x) == Approx(-0.5 * information).epsilon(1e-4));
  // Top-k looks at the softmax over all logits, whatever it selects.
  for (const auto over : {TopKSoftmax::selected, TopKSoftmax::all}) {
    const TopKGate<double> top(
        {.input_dim = 4, .num_experts = n, .k = 2, .softmax = over, .entropy = 0.5, .spread = 0.5},
        RandomKey(1));
    CHECK(penalty(top, x) == Approx(-0.5 * information).epsilon(1e-4));
  }
  SampledGate<double> sampled({.input_dim = 4, .num_experts = n, .temperature = 2, .spread = 0.5},
                              RandomKey(1));
  SoftmaxGate<double> cooled({.input_dim = 4, .num_experts = n}, RandomKey(1));
  parameter(cooled, "weight") = parameter(sampled, "weight") / 2;
  parameter(cooled, "bias").setZero();
  CHECK(penalty(sampled, x) ==
        Approx(0.5 * minus_spread(test::routed(cooled, x).dense(n))).epsilon(1e-12));
}

TEST_CASE("a static selector is its own mean: spread takes back what entropy asks") {
  const Matrix<double> x(0, 7);
  const auto at = [&](double entropy, double spread) {
    return penalty(StaticDSelectKGate<double>(
                       {.num_experts = 8, .entropy = entropy, .spread = spread}, RandomKey(1)),
                   x);
  };
  CHECK(at(0.75, 0.5) == Approx(at(0.25, 0)).epsilon(1e-12));
  CHECK(at(0, 0.5) == Approx(-0.5 * 2 * std::log(8.0)).epsilon(1e-2));
}

TEST_CASE("a spread is finite where rows have decided, and gives unreached leaves no gradient") {
  CometGate<double> gate({.input_dim = 3, .num_experts = 8, .k = 1, .entropy = 1, .spread = 1},
                         RandomKey(4));
  parameter(gate, "split.weight") *= 1e8;
  parameter(gate, "split.bias") *= 1e8;
  const Matrix<double> x = random_matrix<double>(3, 5, 1);
  REQUIRE(test::routed(gate, x).num_entries() == 5);
  Pass pass(gate);
  Matrix<double> dx = Matrix<double>::Zero(3, 5);
  test::add_gradients(gate, x, Matrix<double>::Zero(8, 5), dx, pass);
  CHECK(std::isfinite(gate.regularization(pass)));
  for (const double g : test::gradients_of(gate, pass)) CHECK(g == 0.0);
  CHECK(dx.isZero(0));

  SoftmaxGate<double> steep({.input_dim = 1, .num_experts = 2, .entropy = 1, .spread = 1},
                            RandomKey(1));
  parameter(steep, "weight") << 1e4, -1e4;
  Pass steep_pass(steep);
  Matrix<double> steep_dx = Matrix<double>::Zero(1, 3);
  test::add_gradients(steep, Matrix<double>::Ones(1, 3), Matrix<double>::Zero(2, 3), steep_dx,
                      steep_pass);
  CHECK(std::isfinite(steep.regularization(steep_pass)));
  for (const double g : test::gradients_of(steep, steep_pass)) CHECK(std::isfinite(g));
}

TEST_CASE("the mean row of many samples is summed in double: float loses nothing") {
  // In float a sum of 2^18 shares would be off by more than a thousandth.
  const Index many = Index(1) << 18;
  Matrix<float> x(1, many);
  for (Index b = 0; b < many; ++b) x(0, b) = b % 3 == 0 ? 0.03F : 0.031F;
  const auto small = penalty(fork<double>(0, 1), x.cast<double>());
  CHECK(penalty(fork<float>(0, 1), x) == Approx(small).epsilon(1e-6));
}

TEST_CASE("rows do not depend on their batch by a spread, and it is annealed like the others") {
  CometGate<double> gate({.input_dim = 3, .num_experts = 4, .spread = 0.5}, RandomKey(1));
  CHECK_FALSE(depends_on_batch(gate));
  const Matrix<double> x = random_matrix<double>(3, 6, 1);
  const double before = penalty(gate, x);
  anneal(gate, {.spread = 1.0});
  CHECK(gate.options().spread == 1.0);
  CHECK(penalty(gate, x) == Approx(2 * before).epsilon(1e-12));
  CHECK_THROWS_WITH(gate.anneal({.spread = -1}),
                    "comet::CometGate::anneal: spread is -1, expected a finite number >= 0");
  CHECK(gate.options().spread == 1.0);
  for (const std::string name : {"dselect_k", "static_dselect_k"}) {
    auto any =
        make_gate<double>(name, {.input_dim = 3, .num_experts = 4, .spread = 0.5}, RandomKey(1));
    const double half = penalty(any, x);
    anneal(any, {.spread = 1.0});
    CHECK(penalty(any, x) == Approx(2 * half).epsilon(1e-12));
  }
  for (const std::string name : {"softmax", "top_k", "sampled", "comet", "dselect_k"})
    CHECK_THROWS_AS(
        make_gate<double>(name, {.input_dim = 3, .num_experts = 4, .spread = std::nan("")},
                          RandomKey(1)),
        std::invalid_argument);
}
