// SPDX-License-Identifier: MIT
// Gates of random shapes, parameters and inputs against plain loops over every expert.
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>
#include <support/reference.hpp>

using namespace comet;
namespace reference = comet::test::reference;

namespace {

/// What inputs and parameters are drawn from: small and large spreads, ties and exact zeros,
/// duplicates, and numbers next to the end of the range.
enum class Values { small, wide, tied, denormal, huge };

double draw(Values kind, RandomKey key, std::uint64_t counter) {
  const double uniform = key.uniform(counter, -1, 1);
  switch (kind) {
    case Values::small:
      return uniform;
    case Values::wide:
      return 30 * uniform;
    case Values::tied:
      return double(key.index(counter, 3)) - 1;
    case Values::denormal:
      return uniform * 1e-310;
    case Values::huge:
      return uniform * 1e30;
  }
  return 0;
}

template <class Derived>
void fill(Eigen::MatrixBase<Derived>& values, Values kind, RandomKey key) {
  std::uint64_t counter = 0;
  for (Index c = 0; c < values.cols(); ++c)
    for (Index r = 0; r < values.rows(); ++r) values.derived()(r, c) = draw(kind, key, counter++);
}

template <class Gate>
void fill_parameters(Gate& gate, Values kind, RandomKey key) {
  std::uint64_t tensor = 0;
  for_each_parameter(
      gate, [&](const ParameterName&, auto& values) { fill(values, kind, key.fold(tensor++)); });
}

struct Shape {
  Index d, n, k, samples;
  double gamma;
};

/// Degenerate sizes are as likely as any others.
Shape draw_shape(RandomKey key) {
  const auto size = [&](std::uint64_t counter, Index most) {
    return 1 + Index(key.index(counter, std::uint64_t(most)));
  };
  const Index n = size(1, 19);
  return {.d = size(0, 9),
          .n = n,
          .k = size(2, std::min(n, Index(4))),
          .samples = Index(key.index(3, 12)),
          .gamma = std::pow(10.0, key.uniform(4, -3, 2))};
}

template <class Gate>
Matrix<double> dense(const Gate& gate, const Matrix<double>& x) {
  const Routing<double> routing = test::routed(gate, x);
  test::check_rows(routing, gate.num_experts(), x.cols(), gate.max_active(), false);
  return routing.dense(gate.num_experts());
}

double largest(const Matrix<double>& values) {
  return values.size() == 0 ? 0 : values.cwiseAbs().maxCoeff();
}

// A logit of size h carries a rounding error of some h epsilon, which a smooth-step of width gamma
// turns into h / gamma epsilon, and an exponential into h epsilon.
double tolerance(Values parameters, Values inputs, const Shape& shape) {
  const auto size = [](Values kind) { return kind == Values::wide ? 30.0 : 1.0; };
  const double logit = double(shape.d + 1) * size(parameters) * size(inputs);
  return 100 * std::numeric_limits<double>::epsilon() * logit * (1 + 1 / shape.gamma);
}

}  // namespace

TEST_CASE("gates agree with plain loops, for random shapes, parameters and inputs") {
  const int seed = GENERATE(range(0, 60));
  const RandomKey key = RandomKey(1).fold(seed);
  const Shape shape = draw_shape(key.fold(0));
  const auto parameters = Values(key.index(0, 3));  // huge and tiny ones have a test of their own
  const auto inputs = Values(key.index(1, 4));
  CAPTURE(seed, shape.d, shape.n, shape.k, shape.samples, shape.gamma, int(parameters),
          int(inputs));
  Matrix<double> x(shape.d, shape.samples);
  fill(x, inputs, key.fold(1));
  if (shape.samples > 1) x.col(1) = x.col(0);  // a duplicate
  const double margin = tolerance(parameters, inputs, shape);

  CometGate<double> comet(
      {.input_dim = shape.d, .num_experts = shape.n, .k = shape.k, .gamma = shape.gamma}, key);
  fill_parameters(comet, parameters, key.fold(2));
  CHECK(largest(dense(comet, x) - reference::weights(comet, x)) <= margin);

  DSelectKGate<double> dselect(
      {.input_dim = shape.d, .num_experts = shape.n, .k = shape.k, .gamma = shape.gamma}, key);
  fill_parameters(dselect, parameters, key.fold(3));
  const auto tensor = [&](const char* name) {
    return Matrix<double>(test::parameter(dselect, name));
  };
  CHECK(largest(dense(dselect, x) - reference::dselect_k_weights<double>(
                                        dselect.options(), tensor("bit.weight"), tensor("bit.bias"),
                                        tensor("mixture.weight"), tensor("mixture.bias"), x)) <=
        margin);

  // Whole numbers have exact logits, so that ties are ties here and there.
  TopKGate<double> top_k({.input_dim = shape.d, .num_experts = shape.n, .k = shape.k}, key);
  fill_parameters(top_k, Values::tied, key.fold(4));
  Matrix<double> whole(shape.d, shape.samples);
  fill(whole, Values::tied, key.fold(5));
  const Matrix<double> weight = test::parameter(top_k, "weight");
  const Matrix<double> bias = test::parameter(top_k, "bias");
  const Matrix<double> routed = dense(top_k, whole);
  for (Index b = 0; b < shape.samples; ++b) {
    std::vector<reference::Real> logits;
    for (Index i = 0; i < shape.n; ++i) {
      auto sum = reference::Real(bias(i, 0));
      for (Index r = 0; r < shape.d; ++r) sum += reference::Real(weight(r, i) * whole(r, b));
      logits.push_back(sum);
    }
    const auto expected = reference::top_k_weights(logits, shape.k);
    for (Index i = 0; i < shape.n; ++i)
      CHECK(std::abs(routed(i, b) - double(expected[std::size_t(i)])) <= 1e-14);
  }
}

TEST_CASE("extreme parameters give the laws' rows or a message, never a silent nonsense") {
  const int seed = GENERATE(range(0, 40));
  const RandomKey key = RandomKey(2).fold(seed);
  const Shape shape = draw_shape(key.fold(0));
  const auto parameters = Values(key.index(0, 5));
  const auto inputs = Values(key.index(1, 5));
  CAPTURE(seed, int(parameters), int(inputs), shape.gamma);
  Matrix<double> x(shape.d, shape.samples);
  fill(x, inputs, key.fold(1));
  const auto check = [&](auto gate) {
    fill_parameters(gate, parameters, key.fold(2));
    CHECK_NOTHROW(dense(gate, x));  // 1e30 times 1e30 is far from the end of the range
  };
  check(CometGate<double>(
      {.input_dim = shape.d, .num_experts = shape.n, .k = shape.k, .gamma = shape.gamma}, key));
  check(DSelectKGate<double>(
      {.input_dim = shape.d, .num_experts = shape.n, .k = shape.k, .gamma = shape.gamma}, key));
  check(TopKGate<double>({.input_dim = shape.d, .num_experts = shape.n, .k = shape.k}, key));
}

TEST_CASE(
    "a leaf that is hardly reached but outweighs all others is never given an infinite weight") {
  CometGate<float> gate({.input_dim = 1, .num_experts = 8, .k = 1}, RandomKey(1));
  test::parameter(gate, "split.weight").setZero();
  test::parameter(gate, "leaf.weight").setZero();
  test::parameter(gate, "split.bias").setConstant(std::nextafter(-0.5F, 0.0F));
  auto leaves = test::parameter(gate, "leaf.bias");
  leaves.setZero();
  leaves(0, 0) = 200;  // its reach is 2e-44, and no float is its inverse
  const Matrix<float> x = Matrix<float>::Ones(1, 1);
  CHECK_THROWS_AS(test::routed(gate, x), NotFinite);
  CHECK_THROWS_WITH(test::routed(gate, x), ContainsSubstring("the logits of sample 0 overflow"));
  leaves(0, 0) = 10;  // leaves of more reach count, and all is well
  test::check_rows(test::routed(gate, x), 8, 1, 8);
}

TEST_CASE("a permuted gate moves every weight to where its permutation says, whatever they are") {
  const int seed = GENERATE(range(0, 25));
  const RandomKey key = RandomKey(3).fold(seed);
  const Shape shape = draw_shape(key.fold(0));
  Matrix<double> x(shape.d, shape.samples);
  fill(x, Values::wide, key.fold(1));
  const CometGate<double> gate(
      {.input_dim = shape.d, .num_experts = shape.n, .k = shape.k, .gamma = shape.gamma}, key);
  const auto p = Permutation::random(shape.n, key.fold(2));
  const auto q = Permutation::random(shape.n, key.fold(3));
  PermutedGate<CometGate<double>> permuted(gate);
  permuted.set_permutation(compose(p, q));
  const Matrix<double> before = dense(gate, x);
  const Matrix<double> after = dense(permuted, x);
  for (Index i = 0; i < shape.n; ++i)
    for (Index b = 0; b < shape.samples; ++b) CHECK(after(q[p[i]], b) == before(i, b));
  permuted.set_permutation(compose(compose(p, q), compose(p, q).inverse()));
  CHECK(test::same_bits(dense(permuted, x), before));
}

TEST_CASE("a size that was forgotten is refused") {
  const RandomKey key(1);
  using Invalid = std::invalid_argument;
  CHECK_THROWS_AS(CometGate<double>({.num_experts = 4}, key), Invalid);
  CHECK_THROWS_AS(CometGate<double>({.input_dim = 4}, key), Invalid);
  CHECK_THROWS_AS(DSelectKGate<double>({.num_experts = 4}, key), Invalid);
  CHECK_THROWS_AS(DSelectKGate<double>({.input_dim = 4}, key), Invalid);
  CHECK_THROWS_AS(TopKGate<double>({.num_experts = 4}, key), Invalid);
  CHECK_THROWS_AS(TopKGate<double>({.input_dim = 4}, key), Invalid);
}
