// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/gates/make_gate.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/inference/explain.hpp>
#include <comet/inference/routing_cost.hpp>

#include <support/fixed_gate.hpp>
#include <support/gates.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

TEMPLATE_TEST_CASE("routing_cost: a new COMET gate reaches every node, a decided one a path",
                   "[inference][cost]", double, float) {
  using S = TestType;
  constexpr Index d = 3, samples = 70;  // more than two tiles
  const Matrix<S> x = random_matrix<S>(d, samples, 1);
  for (const Index n : {1, 2, 3, 5, 8, 13}) {
    INFO("n = " << n);
    const Index k = std::min<Index>(n, 2);
    CometGate<S> gate({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1));
    CHECK(routing_cost(gate, x) == double(samples * k * (2 * n - 1) * d));
    if (n == 1) continue;
    parameter(gate, "split.bias").setConstant(S(10));  // to the left, where the deepest leaf is
    const auto depth = Index(std::ceil(std::log2(double(n))));
    CHECK(routing_cost(gate, x) == double(samples * k * (depth + 1) * d));
  }
}

TEST_CASE("routing_cost: the nodes that an explanation of each sample lists", "[inference][cost]") {
  constexpr Index d = 4, samples = 90;
  const Matrix<double> x = random_matrix<double>(d, samples, 2);
  std::vector<std::uint8_t> mask(std::size_t(samples), 1);
  for (const std::size_t b : {0U, 31U, 32U, 89U}) mask[b] = 0;
  const CometGate<double> gate(
      {.input_dim = d, .num_experts = 11, .k = 3, .gamma = 0.5, .split_scale = 1}, RandomKey(3));
  double all = 0, live = 0;
  for (Index b = 0; b < samples; ++b) {
    const double cost = double(d) * double(explain(gate, x.col(b)).nodes.size());
    CHECK(routing_cost(gate, x.col(b)) == cost);
    all += cost;
    if (mask[std::size_t(b)] != 0) live += cost;
  }
  CHECK(routing_cost(gate, x) == all);
  CHECK(routing_cost(gate, {x, {}, mask}) == live);
  // Some splits have decided and some have not: neither of the two numbers that are easy to guess.
  CHECK(all < double(samples * 3 * 21 * d));
  CHECK(all > double(samples * 3 * 5 * d));
}

TEST_CASE("routing_cost: what every sample costs a gate that is no tree, by type and by name",
          "[inference][cost]") {
  constexpr Index d = 6, n = 5, k = 2, samples = 7;
  const Matrix<double> x = random_matrix<double>(d, samples, 3);
  const std::vector<std::int32_t> ids = {0, 1, 2, 3, 0, 1, 2};
  std::vector<std::uint8_t> mask(std::size_t(samples), 1);
  mask[3] = 0;
  GateFamily<double>::for_each([&]<class G>(std::type_identity<G>) {
    INFO(G::name);
    GateOptions options{.input_dim = d, .num_experts = n, .k = k};
    if (G::name == "hash") options.num_ids = 4;
    const AnyGate<double> gate = make_gate<double>(G::name, options, RandomKey(1));
    const std::string name(G::name);
    const Index planes = name == "hash" || name == "static_dselect_k" ? 0
                         : name == "comet"                            ? k * (2 * n - 1)
                         : name == "dselect_k"                        ? k * (3 + 1)
                                                                      : n;
    CHECK(routing_cost(gate, {x, ids}) == double(samples * planes * d));
    CHECK(routing_cost(gate, {x, ids, mask}) == double((samples - 1) * planes * d));
    CHECK(routing_cost(*gate.get_if<G>(), {x, ids}) == double(samples * planes * d));
  });
}

TEST_CASE("routing_cost: a masked gate costs what the gate within does", "[inference][cost]") {
  const Matrix<double> x = random_matrix<double>(4, 5, 3);
  const SoftmaxGate<double> all({.input_dim = 4, .num_experts = 3}, RandomKey(1));
  const std::vector<ExpertId> some{0, 2};
  const MaskedExperts masked(all, some);
  CHECK(routing_cost(masked, x) == routing_cost(all, x));
  CHECK(routing_cost(AnyGate<double>(masked), x) == routing_cost(all, x));
  CHECK(routing_cost(MaskedExperts(AnyGate<double>(all), some), x) == routing_cost(all, x));
  CHECK(routing_cost(MaskedExperts(masked, some), x) == routing_cost(all, x));
}

TEST_CASE("routing_cost: refuses samples of another size and gates it does not know",
          "[inference][cost]") {
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  const CometGate<double> gate({.input_dim = 4, .num_experts = 3}, RandomKey(1));
  CHECK_THROWS_WITH(routing_cost(gate, x),
                    "comet::routing_cost: x.rows() is 3, expected input_dim = 4");
  CHECK_THROWS_WITH(routing_cost(AnyGate<double>(test::FixedGate<double>(2, {})), x),
                    "comet::routing_cost: it is not known what this gate evaluates: it is none of "
                    "the family");
}
