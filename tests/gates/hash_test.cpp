// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <numeric>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/hash.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using comet::ExpertId;
using comet::HashGate;
using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::Routing;
namespace test = comet::test;

static_assert(comet::Gate<HashGate<float>>);
static_assert(!comet::Parametric<HashGate<float>>);

TEMPLATE_TEST_CASE("the hash gate matches the golden numbers", "", COMET_TEST_SCALARS) {
  using S = TestType;
  Index num_cases = 0;
  for (const auto& golden : test::golden("hash_gate.json")) {
    if (!golden.at("permutation").is_null()) continue;
    ++num_cases;
    const Index n = golden.at("n");
    // Every row has an id of its own.
    const HashGate<S> gate(golden.at("expert_of_row").get<std::vector<ExpertId>>(), n);
    std::vector<std::int32_t> ids(std::size_t(gate.num_ids()));
    std::iota(ids.begin(), ids.end(), 0);
    Routing<S> routing;
    typename HashGate<S>::Workspace workspace;
    gate.route(ids, routing, workspace);
    CHECK(test::relative_error(routing.dense(n), test::matrix(golden.at("weights"))) == 0);
  }
  CHECK(num_cases == 7);
}

TEST_CASE("a random table comes from the key alone and is roughly even") {
  const HashGate<float> gate({.num_ids = 16000, .num_experts = 16}, RandomKey(3));
  const HashGate<float> same({.num_ids = 16000, .num_experts = 16}, RandomKey(3));
  const HashGate<float> other({.num_ids = 16000, .num_experts = 16}, RandomKey(4));
  CHECK(std::equal(gate.table().begin(), gate.table().end(), same.table().begin()));
  CHECK(!std::equal(gate.table().begin(), gate.table().end(), other.table().begin()));
  std::vector<int> counts(16);
  for (const ExpertId expert : gate.table()) ++counts[std::size_t(expert)];
  // Mean 1000, standard deviation 31.
  for (const int count : counts) CHECK(std::abs(count - 1000) < 160);
}

TEST_CASE("a balanced table takes ids by frequency, each to the least loaded expert") {
  // By hand: 3 (10) -> 0, 1 (7) -> 1, 4 (7) -> 2, 0 (2) -> 1 (tie with 2), 2 (2) -> 2, 5 (0) -> 1.
  const std::vector<std::int64_t> frequencies = {2, 7, 2, 10, 7, 0};
  const auto gate = HashGate<double>::balanced(frequencies, 3);
  CHECK(std::vector<ExpertId>(gate.table().begin(), gate.table().end()) ==
        std::vector<ExpertId>{1, 1, 2, 0, 2, 1});

  // Frequencies as skewed as those of real items: the greedy rule stays within one id of even.
  std::vector<std::int64_t> zipf;
  for (std::int64_t id = 1; id <= 5000; ++id) zipf.push_back(20000 / id);
  const auto even = HashGate<double>::balanced(zipf, 8);
  std::vector<std::int64_t> loads(8);
  for (std::size_t id = 0; id < zipf.size(); ++id) loads[std::size_t(even.table()[id])] += zipf[id];
  const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
  CHECK(double(*most) < 1.01 * double(*least));
}

TEST_CASE("a mixture layer trains its experts behind a hash gate") {
  using Layer = comet::MoeLayer<HashGate<double>, comet::DenseExpert<double>>;
  std::vector<comet::DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < 2; ++i)
    experts.emplace_back(
        comet::DenseExpertOptions{
            .input_dim = 2, .output_dim = 1, .activation = comet::Activation::identity},
        RandomKey(i));
  Layer layer({HashGate<double>({0, 1, 0}, 2)}, experts);
  Layer::Workspace workspace;
  // Ids 0 and 2 follow x0 + x1, id 1 follows x0 - x1.
  const Matrix<double> x = test::random_matrix<double>(2, 30, 1);
  std::vector<std::int32_t> ids;
  Matrix<double> target(1, 30);
  for (std::int32_t b = 0; b < 30; ++b) {
    ids.push_back(b % 3);
    target(0, b) = x(0, b) + (b % 3 == 1 ? -1 : 1) * x(1, b);
  }
  const std::span<const std::int32_t> gate_input = ids;
  comet::Adam<double> adam({.learning_rate = 0.05});
  Matrix<double> y(1, 30), none;
  for (std::uint64_t step = 0; step < 300; ++step) {
    layer.forward(x, gate_input, y, RandomKey(step), workspace);
    layer.backward(x, gate_input, y - target, none, none, workspace);
    adam.step(layer);
  }
  CHECK((y - target).cwiseAbs().maxCoeff() < 1e-3);
  CHECK(comet::count_parameters(layer) == 6);
}

TEST_CASE("routing again allocates nothing, and an empty batch is a batch") {
  const HashGate<float> gate({.num_ids = 10, .num_experts = 4}, RandomKey(1));
  HashGate<float>::Workspace workspace;
  Routing<float> routing;
  std::vector<std::int32_t> ids = {3, 9, 0, 3};
  const auto route = [&] { gate.route(ids, routing, workspace); };
  route();
  if (test::can_count_allocations) CHECK(test::count_allocations(route) == 0);
  CHECK(routing.num_samples() == 4);
  ids.clear();
  route();
  CHECK(routing.num_samples() == 0);
}

TEST_CASE("misuse of the hash gate names the position") {
  CHECK_THROWS_WITH(HashGate<float>({0, 3, 1}, 3),
                    "comet::HashGate: table[1] is 3, expected in 0..2");
  CHECK_THROWS_WITH(HashGate<float>({0, -1}, 3),
                    "comet::HashGate: table[1] is -1, expected in 0..2");
  CHECK_THROWS_AS(HashGate<float>(std::vector<ExpertId>{}, 3), std::invalid_argument);
  CHECK_THROWS_AS(HashGate<float>(std::vector<ExpertId>{0}, 0), std::invalid_argument);
  CHECK_THROWS_AS(HashGate<float>({.num_ids = 0, .num_experts = 2}, RandomKey(0)),
                  std::invalid_argument);
  const std::vector<std::int64_t> frequencies = {3, 1, -2};
  CHECK_THROWS_WITH(HashGate<float>::balanced(frequencies, 2),
                    "comet::HashGate::balanced: frequencies[2] is -2, expected at least 0");

  const HashGate<float> gate({0, 1}, 2);
  HashGate<float>::Workspace workspace;
  Routing<float> routing;
  for (const std::int32_t bad : {2, -1}) {
    const std::vector<std::int32_t> ids = {0, 1, bad};
    CHECK_THROWS_WITH(
        gate.route(ids, routing, workspace),
        "comet::HashGate::route: ids[2] is " + std::to_string(bad) + ", expected in 0..1");
  }
}
