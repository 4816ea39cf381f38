// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <limits>
#include <numeric>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/hash.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using comet::ExpertId;
using comet::HashGate;
using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::RandomKey;
using comet::Routing;
using comet::Samples;
namespace test = comet::test;

static_assert(comet::RoutingGate<HashGate<float>>);
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
    const Routing<S> routing = test::routed(gate, {Matrix<S>(0, gate.num_ids()), ids});
    CHECK(test::relative_error(routing.dense(n), test::matrix(golden.at("weights"))) == 0);
  }
  CHECK(num_cases == 7);
}

TEST_CASE("a random table comes from the key alone and is roughly even") {
  const HashGate<float> gate({.num_experts = 16, .num_ids = 16000}, RandomKey(3));
  const HashGate<float> same({.num_experts = 16, .num_ids = 16000}, RandomKey(3));
  const HashGate<float> other({.num_experts = 16, .num_ids = 16000}, RandomKey(4));
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
  Layer layer(HashGate<double>({0, 1, 0}, 2), experts);
  Pass pass(layer);
  // Ids 0 and 2 follow x0 + x1, id 1 follows x0 - x1.
  const Matrix<double> x = test::random_matrix<double>(2, 30, 1);
  std::vector<std::int32_t> ids;
  Matrix<double> target(1, 30);
  for (std::int32_t b = 0; b < 30; ++b) {
    ids.push_back(b % 3);
    target(0, b) = x(0, b) + (b % 3 == 1 ? -1 : 1) * x(1, b);
  }
  comet::Adam adam(layer, {.learning_rate = 0.05});
  Matrix<double> y(1, 30);
  for (std::uint64_t step = 0; step < 300; ++step) {
    layer.forward(Samples{x, ids}, y, RandomKey(step), pass);
    layer.backward(Samples{x, ids}, y - target, pass);
    adam.step(layer, pass);
  }
  CHECK((y - target).cwiseAbs().maxCoeff() < 1e-3);
  CHECK(comet::count_parameters(layer) == 6);
}

TEST_CASE("routing again allocates nothing, and an empty batch is a batch") {
  const HashGate<float> gate({.num_experts = 4, .num_ids = 10}, RandomKey(1));
  Pass pass(gate);
  Routing<float> routing;
  std::vector<std::int32_t> ids = {3, 9, 0, 3};
  Matrix<float> x(0, 4);
  const auto route = [&] { gate.route(Samples{x, ids}, routing, pass); };
  route();
  if (test::can_count_allocations) CHECK(test::count_allocations(route) == 0);
  CHECK(routing.num_samples() == 4);
  ids.clear();
  x.resize(0, 0);
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
  CHECK_THROWS_WITH(HashGate<float>({.num_experts = 2, .num_ids = -1}, RandomKey(0)),
                    "comet::HashGate: num_ids is -1, expected at least 0");
  CHECK_THROWS_WITH(HashGate<float>({.num_ids = 2}, RandomKey(0)),
                    "comet::HashGate: num_experts is 0, expected at least 1");
  const std::vector<std::int64_t> frequencies = {3, 1, -2};
  CHECK_THROWS_WITH(HashGate<float>::balanced(frequencies, 2),
                    "comet::HashGate::balanced: frequencies[2] is -2, expected at least 0");
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_WITH(HashGate<float>::balanced(std::vector<std::int64_t>{most - 1, 1, 1}, 1),
                    "comet::HashGate::balanced: the sum of frequencies is beyond the largest "
                    "64-bit number = 9223372036854775807");
  CHECK(HashGate<float>::balanced(std::vector<std::int64_t>{most - 1, 1}, 1).num_ids() == 2);

  const HashGate<float> gate({0, 1}, 2);
  Pass pass(gate);
  Routing<float> routing;
  const Matrix<float> x = Matrix<float>::Zero(4, 3);
  for (const std::int32_t bad : {2, -1}) {
    const std::vector<std::int32_t> ids = {0, 1, bad};
    CHECK_THROWS_WITH(
        gate.route(Samples{x, ids}, routing, pass),
        "comet::HashGate::route: ids[2] is " + std::to_string(bad) + ", expected in 0..1");
    const std::vector<std::uint8_t> mask = {1, 1, 0};
    CHECK_NOTHROW(gate.route(Samples{x, ids, mask}, routing, pass));  // nobody looks at padding
    CHECK_THROWS_WITH(gate.route(Samples{x, ids, std::span(mask).first(2)}, routing, pass),
                      "comet::HashGate::route: samples.mask.size() is 2, expected x.cols() = 3");
  }
  CHECK_THROWS_WITH(gate.route(x, routing, pass),
                    "comet::HashGate::route: samples.ids.size() is 0, expected one id per sample, "
                    "x.cols() = 3: Samples{x, ids}");
  const std::vector<std::int32_t> few = {0, 1};
  CHECK_THROWS_WITH(gate.route(Samples{x, few}, routing, pass),
                    "comet::HashGate::route: samples.ids.size() is 2, expected x.cols() = 3");
}

TEST_CASE("without a number of ids, any id has the expert that a table would give it") {
  const HashGate<double> table({.num_experts = 5, .num_ids = 1000}, RandomKey(3));
  const HashGate<double> any({.input_dim = 2, .num_experts = 5, .k = 2}, RandomKey(3));
  std::vector<std::int32_t> ids(1000);
  std::iota(ids.begin(), ids.end(), 0);
  const Matrix<double> x = Matrix<double>::Zero(2, 1000);
  const Matrix<double> expected = test::routed(table, {x, ids}).dense(5);
  CHECK(test::same_bits(test::routed(any, {x, ids}).dense(5), expected));
  CHECK(any.num_ids() == 0);
  CHECK(any.table().empty());

  ids.assign(1000, std::numeric_limits<std::int32_t>::max());
  CHECK(test::routed(any, {x, ids}).num_entries() == 1000);
  ids[7] = -1;
  CHECK_THROWS_WITH(test::routed(any, {x, ids}),
                    "comet::HashGate::route: ids[7] is -1, expected at least 0");
}

TEST_CASE("a frozen hash gate sends ids to the experts' new numbers, with a table or without") {
  const auto p = comet::Permutation({3, 0, 1, 2});
  const auto q = comet::Permutation({1, 0, 3, 2});
  std::vector<std::int32_t> ids(50);
  std::iota(ids.begin(), ids.end(), 0);
  const Matrix<double> x = Matrix<double>::Zero(2, 50);
  for (const Index num_ids : {0, 50}) {
    const HashGate<double> gate({.num_experts = 4, .num_ids = num_ids}, RandomKey(3));
    const Matrix<double> before = test::routed(gate, {x, ids}).dense(4);
    CHECK(test::same_bits(test::routed(gate.freeze({}), {x, ids}).dense(4), before));
    const Matrix<double> after =
        test::routed(gate.freeze(std::span(&p, 1)).freeze(std::span(&q, 1)), {x, ids}).dense(4);
    for (Index i = 0; i < 4; ++i) CHECK(after.row(q[p[i]]) == before.row(i));
  }
  const std::vector<comet::Permutation> two = {p, q};
  const HashGate<double> gate({.num_experts = 4}, RandomKey(3));
  CHECK_THROWS_WITH(
      gate.freeze(two),
      "comet::HashGate::freeze: permutations.size() is 2, expected at most one per gate = 1");
  const auto other = comet::Permutation::identity(5);
  CHECK_THROWS_WITH(gate.freeze(std::span(&other, 1)),
                    "comet::HashGate::freeze: permutation.size() is 5, expected num_experts = 4");
}
