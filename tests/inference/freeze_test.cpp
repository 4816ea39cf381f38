// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gate_laws.hpp>
#include <support/allocation_counter.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(RoutingGate<FrozenCometGate<float>> && !Parametric<FrozenCometGate<float>>);
static_assert(RoutingGate<FrozenTopKGate<double>> && RoutingGate<FrozenDSelectKGate<double>>);

namespace {

constexpr Index d = 11, samples = 70;

template <class Frozen, class G>
void check_same_bits(const Frozen& frozen, const G& gate, const typename G::Input& input) {
  Routing<typename G::Scalar> expected, routing;
  typename G::Workspace gate_workspace;
  typename Frozen::Workspace workspace;
  gate.route(input, expected, gate_workspace);
  frozen.route(input, routing, workspace);
  CHECK(std::ranges::equal(routing.offsets(), expected.offsets()));
  CHECK(std::ranges::equal(routing.experts(), expected.experts()));
  CHECK(std::ranges::equal(routing.weights(), expected.weights()));
}

/// Bare, with one permutation, and with one per selector.
template <class G>
void check_freeze(const G& gate, const typename G::Input& input) {
  check_same_bits(freeze(gate), gate, input);
  PermutedGate permuted(gate);
  const Index n = gate.num_experts();
  permuted.set_permutation(Permutation::random(n, RandomKey(1)));
  check_same_bits(freeze(permuted), permuted, input);
  if (permuted.num_selectors() > 1) {
    std::vector<Permutation> each;
    for (Index j = 0; j < permuted.num_selectors(); ++j)
      each.push_back(Permutation::random(n, RandomKey(2).fold(j)));
    permuted.set_permutations(each);
    check_same_bits(freeze(permuted), permuted, input);
  }
  const std::vector soft = {Matrix<double>(Matrix<double>::Constant(n, n, 1.0 / double(n)))};
  permuted.set_soft(soft, std::vector{Permutation::identity(n)});
  CHECK_THROWS_WITH(freeze(permuted),
                    "comet::freeze: the permutation is soft; end the search first");
}

/// Parameters far from the start, so that some splits are saturated and some are not.
template <class G>
G scattered(G gate) {
  std::uint64_t seed = 50;
  gate.visit_parameters([&](const ParameterName&, auto& values, auto&) {
    RandomKey(seed++).fill_uniform(values, -1, 1);
  });
  return gate;
}

long allocation_count() { return test::allocations.load(); }

}  // namespace

TEMPLATE_TEST_CASE("a frozen gate routes to the same bits", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const Matrix<S> x = random_matrix<S>(d, samples, 3);
  for (const Index n : {1, 2, 5, 7, 16})
    for (const Index k : {1, 2, 4}) {
      if (k > n) continue;
      CAPTURE(n, k);
      for (const double gamma : {0.01, 0.7, 10.0}) {
        CAPTURE(gamma);
        check_freeze(scattered(CometGate<S>(
                         {.input_dim = d, .num_experts = n, .k = k, .gamma = gamma}, RandomKey(4))),
                     x);
        check_freeze(scattered(DSelectKGate<S>(
                         {.input_dim = d, .num_experts = n, .k = k, .gamma = gamma}, RandomKey(5))),
                     x);
      }
      for (const TopKSoftmax softmax : {TopKSoftmax::selected, TopKSoftmax::all})
        check_freeze(
            TopKGate<S>(
                {.input_dim = d, .num_experts = n, .k = k, .softmax = softmax, .noise = k == 2},
                RandomKey(6)),
            x);
    }
  std::vector<std::int32_t> ids(samples);
  for (std::size_t b = 0; b < ids.size(); ++b) ids[b] = std::int32_t(b * 7 % 30);
  check_freeze(HashGate<S>({.num_ids = 30, .num_experts = 5}, RandomKey(7)), ids);
}

TEST_CASE("a frozen gate obeys the laws of gates and is independent of its origin") {
  CometGate<double> gate = scattered(
      CometGate<double>({.input_dim = d, .num_experts = 6, .k = 2, .gamma = 0.7}, RandomKey(4)));
  const auto frozen = freeze(gate);
  for (const auto& broken :
       comet::testing::check_gate_laws(frozen, {.count_allocations = allocation_count}))
    FAIL(broken);
  for (const auto& broken : comet::testing::check_gate_laws(
           freeze(TopKGate<double>({.input_dim = d, .num_experts = 6, .k = 3}, RandomKey(1))),
           {.count_allocations = allocation_count}))
    FAIL(broken);
  for (const auto& broken : comet::testing::check_gate_laws(
           freeze(scattered(DSelectKGate<double>(
               {.input_dim = d, .num_experts = 6, .k = 2, .gamma = 0.7}, RandomKey(1)))),
           {.sums_to_one = false, .count_allocations = allocation_count}))
    FAIL(broken);

  const CometGate<double> before = gate;
  parameter(gate, "leaf.bias").setConstant(3);
  check_same_bits(frozen, before, random_matrix<double>(d, 9, 3));
}

TEST_CASE("a mixture layer takes a frozen gate and trains its experts") {
  const CometGate<double> gate({.input_dim = d, .num_experts = 4, .k = 2}, RandomKey(1));
  std::vector<DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < 4; ++i)
    experts.emplace_back(DenseExpertOptions{.input_dim = d, .output_dim = 2}, RandomKey(i));
  MoeLayer<CometGate<double>, DenseExpert<double>> layer({gate}, experts);
  MoeLayer<FrozenCometGate<double>, DenseExpert<double>> frozen({freeze(gate)}, experts);
  decltype(layer)::Workspace layer_workspace;
  decltype(frozen)::Workspace frozen_workspace;
  const Matrix<double> x = random_matrix<double>(d, samples, 3);
  Matrix<double> expected(2, samples), y(2, samples);
  layer.predict(x, expected, layer_workspace);
  frozen.predict(x, y, frozen_workspace);
  CHECK(y == expected);

  frozen.forward(x, y, RandomKey(1), frozen_workspace);
  frozen.backward(x, y, frozen_workspace);
  CHECK(count_parameters(frozen) == 4 * (d + 1) * 2);
  double largest = 0;
  frozen.visit_parameters([&](const ParameterName&, auto&, auto& gradients) {
    largest = std::max(largest, gradients.cwiseAbs().maxCoeff());
  });
  CHECK(largest > 0);
}

TEMPLATE_TEST_CASE("sums that overflow in a frozen gate are reported, not routed", "",
                   CometGate<double>, DSelectKGate<double>, TopKGate<double>) {
  TestType gate({.input_dim = 2, .num_experts = 4, .k = 2}, RandomKey(1));
  gate.visit_parameters([](const ParameterName&, auto& values, auto&) {
    for (Index r = 0; r < values.rows(); ++r)
      values.row(r).setConstant(r % 2 == 0 ? 1e300 : -1e300);
  });
  const auto frozen = freeze(gate);
  typename decltype(frozen)::Workspace workspace;
  Routing<double> routing;
  CHECK_THROWS_WITH(frozen.route(Matrix<double>::Constant(2, 1, 1e300), routing, workspace),
                    Catch::Contains("::route: the logits of sample 0 overflow"));
}

TEST_CASE("frozen gates say what is wrong") {
  CometGate<double> gate({.input_dim = 2, .num_experts = 4}, RandomKey(1));
  const auto frozen = freeze(gate);
  Routing<double> routing;
  decltype(frozen)::Workspace workspace;
  CHECK_THROWS_WITH(frozen.route(Matrix<double>::Zero(3, 1), routing, workspace),
                    "comet::FrozenCometGate::route: x.rows() is 3, expected input_dim = 2");
  Matrix<double> x = Matrix<double>::Zero(2, 2);
  x(1, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(frozen.route(x, routing, workspace),
                    "comet::FrozenCometGate::route: x(1, 1) is inf, expected a finite number");
  parameter(gate, "leaf.weight").setConstant(1e200);
  x.setConstant(1e200);
  CHECK_THROWS_WITH(freeze(gate).route(x, routing, workspace),
                    "comet::FrozenCometGate::route: the logits of sample 0 overflow");
  parameter(gate, "split.bias")(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(freeze(gate),
                    "comet::freeze: split.bias(0, 0) is nan, expected a finite number");
}
