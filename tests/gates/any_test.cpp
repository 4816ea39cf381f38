// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gate_laws.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using comet::AnyGate;
using comet::Index;
using comet::Matrix;
using comet::RandomKey;
namespace test = comet::test;

namespace {

constexpr Index d = 6, n = 5, k = 2;
using Ids = std::span<const std::int32_t>;

long allocation_count() { return test::allocations.load(); }

template <class S>
comet::CometGate<S> comet_gate() {
  return {{.input_dim = d, .num_experts = n, .k = k, .entropy = 0.2}, RandomKey(1)};
}
template <class S>
comet::TopKGate<S> top_k_gate() {
  return {{.input_dim = d, .num_experts = n, .k = k}, RandomKey(2)};
}

/// Three steps of a layer in a relaxed search, then one after it.
template <class Gate>
std::vector<float> trained(Gate gate) {
  std::vector<comet::PermutedGate<Gate>> gates;
  gates.emplace_back(std::move(gate));
  std::vector<comet::DenseExpert<float>> experts;
  for (Index i = 0; i < n; ++i)
    experts.emplace_back(comet::DenseExpertOptions{.input_dim = d, .output_dim = 3},
                         RandomKey(7).fold(std::uint64_t(i)));
  comet::MoeLayer layer(std::move(gates), std::move(experts));
  typename decltype(layer)::Workspace workspace;
  comet::PermutationSearch<float> search({.steps = 3}, layer.gates(), RandomKey(3));
  comet::Adam<float> adam({.learning_rate = 0.05});
  const Matrix<float> x = test::random_matrix<float>(d, 20, 4);
  Matrix<float> y(3, 20), dx = Matrix<float>::Zero(d, 20);
  for (std::uint64_t step = 0; step < 4; ++step)
    comet::step_with_local_search(
        search, layer.gates(),
        [&] {
          layer.forward(x, y, RandomKey(5).fold(step), workspace);
          Matrix<float> dy = y;
          layer.backward(x, dy, dx, workspace);
        },
        [&] { adam.step(layer); });
  std::vector<float> values = test::values_of(layer);
  values.insert(values.end(), y.data(), y.data() + y.size());
  return values;
}

}  // namespace

static_assert(comet::TrainableGate<AnyGate<float>>);
static_assert(comet::Gate<AnyGate<double, Ids>>);

TEMPLATE_TEST_CASE("any gate obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using S = TestType;
  using Features = AnyGate<S>;
  for (const Features& gate : {Features(comet_gate<S>()), Features(top_k_gate<S>())})
    for (const auto& broken : comet::testing::check_gate_laws(
             gate, {.input_dim = d, .count_allocations = allocation_count}))
      FAIL_CHECK(broken);
  const AnyGate<S, Ids> hash(comet::HashGate<S>({.num_ids = 30, .num_experts = n}, RandomKey(1)));
  for (const auto& broken : comet::testing::check_gate_laws(hash, {.num_ids = 30}))
    FAIL_CHECK(broken);
}

TEST_CASE("any gate trains to the bits of the gate it holds") {
  CHECK(
      test::same_bits(trained(AnyGate<float>(comet_gate<float>())), trained(comet_gate<float>())));
  CHECK(
      test::same_bits(trained(AnyGate<float>(top_k_gate<float>())), trained(top_k_gate<float>())));
}

TEST_CASE("any gate keeps the training protocol") {
  AnyGate<double> gate(comet_gate<double>());
  const Matrix<double> x = test::random_matrix<double>(d, 9, 2);
  test::check_training_protocol(gate, x);
  test::check_batch_invariance(gate, x);
}

TEST_CASE("any gate says what it holds, and copies of it are independent") {
  AnyGate<float> gate(comet_gate<float>());
  REQUIRE(gate.get_if<comet::CometGate<float>>() != nullptr);
  CHECK(gate.get_if<comet::TopKGate<float>>() == nullptr);
  CHECK(gate.num_experts() == n);
  CHECK(gate.max_active() == comet_gate<float>().max_active());

  AnyGate<float> copy = gate;
  test::parameter(copy, "split.weight").setZero();
  CHECK(!test::same_bits(test::values_of(copy), test::values_of(gate)));
  copy = AnyGate<float>(top_k_gate<float>());
  CHECK(copy.get_if<comet::TopKGate<float>>() != nullptr);
  copy = gate;
  CHECK(test::same_bits(test::values_of(copy), test::values_of(gate)));
  const AnyGate<float> moved = std::move(copy);
  CHECK(moved.num_experts() == n);
}

TEST_CASE("a workspace of another kind of gate holds no forward pass for any gate") {
  AnyGate<float> tree(comet_gate<float>());
  AnyGate<float> top(top_k_gate<float>());
  AnyGate<float>::Workspace workspace;
  comet::Routing<float> routing;
  const Matrix<float> x = test::random_matrix<float>(d, 4, 2);
  tree.forward(x, routing, RandomKey(1), workspace);
  const std::vector<float> dweights(std::size_t(routing.num_entries()), 1.0f);
  CHECK(top.regularization(workspace) == 0);
  Matrix<float> none;
  CHECK_THROWS_AS(top.backward(x, routing, dweights, none, workspace), std::invalid_argument);
}
