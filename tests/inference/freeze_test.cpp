// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/remoe.hpp>
#include <comet/gates/sampled.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gate_laws.hpp>
#include <support/allocation_counter.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(RoutingGate<FrozenCometGate<float>> && !Parametric<FrozenCometGate<float>>);
static_assert(RoutingGate<FrozenTopKGate<double>> && RoutingGate<FrozenDSelectKGate<double>>);

namespace {

constexpr Index d = 11, samples = 70;

template <class Frozen, class G>
void check_same_bits(const Frozen& frozen, const G& gate,
                     const Samples<typename G::Scalar>& input) {
  const auto expected = test::routed(gate, input), routing = test::routed(frozen, input);
  CHECK(std::ranges::equal(routing.offsets(), expected.offsets()));
  CHECK(std::ranges::equal(routing.experts(), expected.experts()));
  CHECK(std::ranges::equal(routing.weights(), expected.weights()));
}

/// Bare, with one permutation, and with one per selector.
template <class G>
void check_freeze(const G& gate, const Samples<typename G::Scalar>& input) {
  check_same_bits(freeze(gate), gate, input);
  PermutedGate permuted(gate);
  const Index n = gate.num_experts();
  permuted.set_permutation(Permutation::random(n, RandomKey(1)));
  check_same_bits(freeze(permuted), permuted, input);
  check_same_bits(freeze(gate, permuted.permutations()), permuted, input);
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
  for_each_parameter(gate, [&](const ParameterName&, auto& values) {
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
  check_freeze(HashGate<S>({.num_experts = 5, .num_ids = 30}, RandomKey(7)), {x, ids});
  check_freeze(HashGate<S>({.num_experts = 5}, RandomKey(7)), {x, ids});
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 0};
  check_freeze(scattered(CometGate<S>({.input_dim = d, .num_experts = 5}, RandomKey(4))),
               {x.leftCols(5), {}, mask});
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

  for (const auto& broken : comet::testing::check_gate_laws(
           freeze(PermutedGate(gate)), {.count_allocations = allocation_count}))
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
  const MoeLayer<CometGate<double>, DenseExpert<double>> layer({gate}, experts);
  const MoeLayer<FrozenCometGate<double>, DenseExpert<double>> frozen({freeze(gate)}, experts);
  Pass layer_pass(layer);
  Pass pass(frozen);
  const Matrix<double> x = random_matrix<double>(d, samples, 3);
  Matrix<double> expected(2, samples), y(2, samples);
  layer.predict(x, expected, layer_pass);
  frozen.predict(x, y, pass);
  CHECK(y == expected);

  frozen.forward(x, y, RandomKey(1), pass);
  frozen.backward(x, y, no_gradient, pass);
  CHECK(count_parameters(frozen) == 4 * (d + 1) * 2);
  double largest = 0;
  for (const double g : test::gradients_of(frozen, pass)) largest = std::max(largest, std::abs(g));
  CHECK(largest > 0);
}

TEMPLATE_TEST_CASE("sums that overflow in a frozen gate are reported, not routed", "",
                   CometGate<double>, DSelectKGate<double>, TopKGate<double>) {
  TestType gate({.input_dim = 2, .num_experts = 4, .k = 2}, RandomKey(1));
  for_each_parameter(gate, [](const ParameterName&, auto& values) {
    for (Index r = 0; r < values.rows(); ++r)
      values.row(r).setConstant(r % 2 == 0 ? 1e300 : -1e300);
  });
  const auto frozen = freeze(gate);
  CHECK_THROWS_WITH(test::routed(frozen, Matrix<double>::Constant(2, 1, 1e300)),
                    ContainsSubstring("::route: the logits of sample 0 overflow"));
  CHECK_THROWS_AS(test::routed(frozen, Matrix<double>::Constant(2, 1, 1e300)), NotFinite);
}

TEST_CASE("frozen gates say what is wrong") {
  CometGate<double> gate({.input_dim = 2, .num_experts = 4}, RandomKey(1));
  const auto frozen = freeze(gate);
  CHECK_THROWS_WITH(test::routed(frozen, Matrix<double>::Zero(3, 1)),
                    "comet::FrozenCometGate::route: x.rows() is 3, expected input_dim = 2");
  Matrix<double> x = Matrix<double>::Zero(2, 2);
  x(1, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(test::routed(frozen, x),
                    "comet::FrozenCometGate::route: x(1, 1) is inf, expected a finite number");
  parameter(gate, "leaf.weight").setConstant(1e200);
  x.setConstant(1e200);
  CHECK_THROWS_WITH(test::routed(freeze(gate), x),
                    "comet::FrozenCometGate::route: the logits of sample 0 overflow");
  parameter(gate, "split.bias")(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(freeze(gate),
                    "comet::freeze: split.bias(0, 0) is nan, expected a finite number");
  CHECK_THROWS_AS(freeze(gate), NotFinite);
  const CometGate<double> good({.input_dim = 2, .num_experts = 4}, RandomKey(1));
  CHECK_THROWS_WITH(freeze(good, std::vector(3, Permutation::identity(4))),
                    "comet::freeze: permutations.size() is 3, expected num_selectors = 2");
  CHECK_THROWS_WITH(freeze(good, std::vector(1, Permutation::identity(3))),
                    "comet::freeze: permutation.size() is 3, expected num_experts = 4");
}

TEMPLATE_TEST_CASE("a frozen gate of one's own labels has an expert for every slot", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const auto of_slots = [](const auto& frozen, std::size_t slots) {
    using Gate = std::remove_cvref_t<decltype(frozen)>;
    CHECK(frozen.labels().size() == slots);
    CHECK_NOTHROW(Gate(frozen.tables(), std::vector<ExpertId>(slots, 3)));
    for (const std::size_t size : {std::size_t(0), slots - 1, slots + 1})
      CHECK_THROWS_WITH(Gate(frozen.tables(), std::vector<ExpertId>(size, 0)),
                        "comet::FrozenGate: labels.size() is " + std::to_string(size) +
                            ", expected number of slots = " + std::to_string(slots));
    for (const ExpertId label : {-1, 4})
      CHECK_THROWS_WITH(Gate(frozen.tables(), std::vector<ExpertId>(slots, label)),
                        "comet::FrozenGate: a label is " + std::to_string(label) +
                            ", expected at least 0 and below num_experts = 4");
  };
  const RandomKey key(1);
  of_slots(freeze(CometGate<S>({.input_dim = 2, .num_experts = 4, .k = 3}, key)), 12);
  const DSelectKGate<S> dselect_k({.input_dim = 2, .num_experts = 4, .k = 3}, key);
  of_slots(freeze(dselect_k), 4);
  of_slots(freeze(dselect_k, std::vector(3, Permutation::identity(4))), 12);
  of_slots(freeze(TopKGate<S>({.input_dim = 2, .num_experts = 4, .k = 3}, key)), 4);
  of_slots(freeze(BalancedTopKGate<S>({.input_dim = 2, .num_experts = 4, .k = 3}, key)), 4);
  of_slots(freeze(SampledGate<S>({.input_dim = 2, .num_experts = 4, .k = 3}, key)), 4);
  of_slots(freeze(ReMoeGate<S>({.input_dim = 2, .num_experts = 4, .k = 3}, key)), 4);
}
