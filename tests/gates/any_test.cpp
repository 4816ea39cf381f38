// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
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
#include <support/gates.hpp>
#include <support/model.hpp>

using comet::AnyGate;
using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::RandomKey;
using comet::Routing;
namespace test = comet::test;

namespace {

constexpr Index d = 6, n = 5, k = 2;

long allocation_count() { return test::allocations.load(); }

template <class S>
comet::CometGate<S> comet_gate() {
  return {{.input_dim = d, .num_experts = n, .k = k, .entropy = 0.2}, RandomKey(1)};
}
template <class S>
comet::TopKGate<S> top_k_gate() {
  return {{.input_dim = d, .num_experts = n, .k = k}, RandomKey(2)};
}
template <class S>
comet::HashGate<S> hash_gate() {
  return {{.num_experts = n, .num_ids = 30}, RandomKey(1)};
}

/// A layer and a search that learns beside it.
template <class Layer>
struct Searched {
  using Scalar = float;
  Layer layer;
  comet::PermutationSearch<float> search;

  template <class F>
  void visit(F&& f) const {
    f("layer", layer);
    f("search", search);
  }
};

/// Three steps of a layer in a relaxed search, then one after it.
template <class Gate>
std::vector<float> trained(Gate gate) {
  std::vector<comet::PermutedGate<Gate>> gates;
  gates.emplace_back(std::move(gate));
  comet::MoeLayer built(std::move(gates), comet::make_experts<comet::DenseExpert<float>>(
                                              n, {.input_dim = d, .output_dim = 3}, RandomKey(7)));
  comet::PermutationSearch search({.steps = 3}, built.gates(), RandomKey(3));
  Searched<decltype(built)> model{std::move(built), std::move(search)};
  comet::Gradients gradients(model);
  Pass pass(model.layer);
  auto rest = gradients.view();
  pass.borrow(rest.next(model.layer));
  comet::Adam adam(model, {.learning_rate = 0.05});
  const Matrix<float> x = test::random_matrix<float>(d, 20, 4);
  Matrix<float> y(3, 20), dx = Matrix<float>::Zero(d, 20);
  for (std::uint64_t step = 0; step < 4; ++step)
    comet::step_with_local_search(
        model.search, model.layer.gates(),
        [&] {
          model.layer.forward(x, y, RandomKey(5).fold(step), pass);
          model.layer.backward(x, y, dx, pass);
          model.search.backward(model.layer.gates(), pass.workspace.gates(), rest);
        },
        [&] { adam.step(model, gradients); });
  std::vector<float> values = test::values_of(model);
  values.insert(values.end(), y.data(), y.data() + y.size());
  return values;
}

}  // namespace

static_assert(comet::TrainableGate<AnyGate<float>>);
static_assert(comet::capabilities_of<AnyGate<double>> == comet::GateCapabilities{.trains = true,
                                                                                 .selectors = true,
                                                                                 .anneals = true,
                                                                                 .freezes = true,
                                                                                 .explains = true,
                                                                                 .loads = true,
                                                                                 .splits = true});

TEMPLATE_TEST_CASE("any gate obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const auto& gate :
       {AnyGate<S>(comet_gate<S>()), AnyGate<S>(top_k_gate<S>()), AnyGate<S>(hash_gate<S>())})
    test::check_laws(gate, {.num_ids = 30, .count_allocations = allocation_count});
}

TEST_CASE("any gate trains to the bits of the gate it holds") {
  CHECK(
      test::same_bits(trained(AnyGate<float>(comet_gate<float>())), trained(comet_gate<float>())));
  CHECK(
      test::same_bits(trained(AnyGate<float>(top_k_gate<float>())), trained(top_k_gate<float>())));
}

TEST_CASE("any gate keeps the training protocol") {
  test::check_laws(AnyGate<double>(comet_gate<double>()), {.num_samples = 9});
}

TEST_CASE("any gate says what it holds, and copies of it are independent") {
  AnyGate<float> gate(comet_gate<float>());
  REQUIRE(gate.get_if<comet::CometGate<float>>() != nullptr);
  CHECK(gate.get_if<comet::TopKGate<float>>() == nullptr);
  CHECK(gate.name() == "comet");
  CHECK(gate.input_dim() == d);
  CHECK(gate.num_experts() == n);
  CHECK(gate.max_active() == comet_gate<float>().max_active());
  CHECK(AnyGate<float>(hash_gate<float>()).input_dim() == 0);

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

TEST_CASE("a pass of another kind of gate holds no forward pass for any gate") {
  const AnyGate<float> tree(comet_gate<float>());
  const AnyGate<float> top(top_k_gate<float>());
  Pass pass(tree);
  Routing<float> routing;
  const Matrix<float> x = test::random_matrix<float>(d, 4, 2);
  tree.forward(x, routing, RandomKey(1), pass);
  const std::vector<float> dweights(std::size_t(routing.num_entries()), 1.0f);
  CHECK(top.regularization(pass) == 0);
  CHECK_THROWS_AS(top.backward(x, routing, dweights, comet::no_gradient, pass),
                  std::invalid_argument);
}

TEST_CASE("any gate hands capabilities on") {
  const comet::CometGate<double> bare = comet_gate<double>();
  AnyGate<double> gate(bare);
  const Matrix<double> x = test::random_matrix<double>(d, 7, 2);
  CHECK(gate.capabilities() == comet::capabilities_of<comet::CometGate<double>>);
  CHECK(gate.num_selectors() == bare.num_selectors());

  Pass pass(gate);
  Pass bare_pass(bare);
  Routing<double> slots, expected;
  gate.route_slots(x, slots, pass);
  bare.route_slots(x, expected, bare_pass);
  CHECK(test::same_bits(slots.dense(n * k), expected.dense(n * k)));
  gate.forward_slots(x, slots, RandomKey(1), pass);
  CHECK(test::same_bits(slots.dense(n * k), expected.dense(n * k)));

  const auto p = comet::Permutation::random(n, RandomKey(4));
  const AnyGate<double> frozen = gate.freeze(std::span(&p, 1));
  CHECK(frozen.name() == "frozen_comet");
  const Matrix<double> before = test::routed(gate, x).dense(n);
  const Matrix<double> after = test::routed(frozen, x).dense(n);
  for (Index i = 0; i < n; ++i) CHECK(after.row(p[i]) == before.row(i));
  CHECK(gate.explain(x.col(0)).experts.size() == test::routed(gate, x.col(0)).experts(0).size());

  comet::anneal(gate, {.gamma = 0.25});
  CHECK(gate.get_if<comet::CometGate<double>>()->options().gamma == 0.25);
  CHECK(gate.get_if<comet::CometGate<double>>()->options().entropy == 0.2);
}

TEST_CASE("any gate refuses in words what the gate inside cannot do") {
  AnyGate<double> hash(hash_gate<double>());
  Pass pass(hash);
  Routing<double> routing;
  const Matrix<double> x = Matrix<double>::Zero(d, 1);
  CHECK_THROWS_WITH(
      comet::anneal(hash, {.gamma = 0.5}),
      "comet::AnyGate::anneal: a hash gate has no gamma and no entropy penalty to anneal");
  CHECK_THROWS_WITH(
      hash.num_selectors(),
      "comet::AnyGate::num_selectors: a hash gate has no selectors that could be told apart");
  CHECK_THROWS_WITH(
      hash.route_slots(x, routing, pass),
      "comet::AnyGate::route_slots: a hash gate has no selectors that could be told apart");
  CHECK_THROWS_WITH(
      hash.forward_slots(x, routing, RandomKey(1), pass),
      "comet::AnyGate::forward_slots: a hash gate has no selectors that could be told apart");
  CHECK_THROWS_WITH(hash.explain(x),
                    "comet::AnyGate::explain: a hash gate cannot say why it goes where it goes");
  const std::vector<Index> load(std::size_t(n), 1);
  CHECK_THROWS_WITH(comet::end_of_step(hash, load),
                    "comet::AnyGate::end_of_step: a hash gate has no use for the load of a step");
  const AnyGate<double> frozen = AnyGate<double>(comet_gate<double>()).freeze();
  CHECK_THROWS_WITH(frozen.freeze(),
                    "comet::AnyGate::freeze: a frozen_comet gate cannot be frozen");
}

namespace {

/// Steers by the load, has no name, and looks at nothing.
struct Steered {
  using Scalar = double;
  struct Workspace {};
  std::vector<Index> last = {};

  Index num_experts() const { return 2; }
  Index max_active() const { return 1; }
  void route(const comet::Samples<double>& samples, Routing<double>& routing,
             Pass<Steered>& /*pass*/) const {
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      if (samples.is_live(b)) routing.push(0, 1.0);
      routing.end_sample();
    }
  }
  void end_of_step(std::span<const Index> load) { last.assign(load.begin(), load.end()); }
};

}  // namespace

TEST_CASE("any gate tells the load to a gate that wants it, a name to none that has none") {
  AnyGate<double> gate{Steered()};
  const std::vector<Index> load{3, 4};
  comet::end_of_step(gate, load);
  CHECK(gate.get_if<Steered>()->last == load);
  CHECK(gate.name().empty());
  CHECK(gate.capabilities() == comet::GateCapabilities{.loads = true});
  CHECK_THROWS_WITH(gate.anneal({}),
                    "comet::AnyGate::anneal: this gate has no gamma and no "
                    "entropy penalty to anneal");
  test::check_laws(gate);
}
