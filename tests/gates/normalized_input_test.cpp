// SPDX-License-Identifier: MIT
#include <cmath>
#include <sstream>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/normalized_input.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/explain.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/layers/layer_norm.hpp>
#include <comet/moe_layer.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

using Gate = NormalizedInput<CometGate<double>>;

const CometGateOptions options{.input_dim = 5, .num_experts = 6, .k = 2, .entropy = 0.1};

Gate make_gate(bool unit_length = false) {
  return Gate(CometGate<double>(options, RandomKey(1)), {.unit_length = unit_length});
}

}  // namespace

static_assert(TrainableGate<Gate> && SelectorGate<Gate> && AnnealableGate<Gate> &&
              FreezableGate<Gate> && ExplainableGate<Gate> && !LoadedGate<Gate>);
static_assert(RoutingGate<NormalizedInput<HashGate<float>>> &&
              !TrainableGate<NormalizedInput<HashGate<float>>> &&
              !AnnealableGate<NormalizedInput<HashGate<float>>>);

TEST_CASE("a gate with normalised input obeys the laws of gates, gradients and masks too") {
  for (const bool unit_length : {false, true})
    test::check_laws(make_gate(unit_length),
                     {.count_allocations = [] { return test::allocations.load(); }});
  test::check_laws(
      NormalizedInput(TopKGate<double>({.input_dim = 3, .num_experts = 4, .k = 2}, RandomKey(2))));
  test::check_laws(NormalizedInput(AnyGate<double>(CometGate<double>(options, RandomKey(1)))));
  test::check_laws(AnyGate<double>(make_gate()));
}

TEST_CASE("the gate sees what layer norm gives it") {
  const Matrix<double> x = random_matrix<double>(5, 20, 3, 0, 1e-2);
  const LayerNorm<double> norm({.input_dim = 5, .scale_and_shift = false});
  Pass norm_pass(norm);
  Matrix<double> features(5, 20);
  norm.predict(x, features, norm_pass);
  const CometGate<double> inside(options, RandomKey(1));
  const auto same = [](const Routing<double>& a, const Routing<double>& b) {
    bool equal = a.num_entries() == b.num_entries();
    for (Index s = 0; equal && s < a.num_samples(); ++s)
      for (std::size_t i = 0; i < a.experts(s).size(); ++i)
        equal = equal && a.experts(s)[i] == b.experts(s)[i] && a.weights(s)[i] == b.weights(s)[i];
    return equal;
  };
  CHECK(same(test::routed(make_gate(), x), test::routed(inside, features)));
  CHECK_FALSE(same(test::routed(make_gate(), x), test::routed(inside, x)));
  // Of unit length: divided by sqrt(d).
  const auto unit = test::routed(make_gate(true), x);
  const auto divided = test::routed(inside, Matrix<double>(features / std::sqrt(5.0)));
  REQUIRE(unit.num_entries() == divided.num_entries());
  for (Index s = 0; s < 20; ++s)
    CHECK(unit.weights(s)[0] == Approx(divided.weights(s)[0]).epsilon(1e-12));
  // A scale of the input makes no difference, but for epsilon.
  const auto large = test::routed(make_gate(), Matrix<double>(1e4 * x));
  const auto huge = test::routed(make_gate(), Matrix<double>(1e6 * x));
  REQUIRE(large.num_entries() == huge.num_entries());
  for (Index s = 0; s < 20; ++s) CHECK(large.weights(s)[0] == Approx(huge.weights(s)[0]));
}

TEST_CASE("what the gate inside can do goes through") {
  Gate gate = make_gate();
  CHECK(gate_name(gate) == "comet");
  CHECK(gate.input_dim() == 5);
  CHECK(gate.num_selectors() == 2);
  CHECK(capabilities(gate) == capabilities(gate.gate()));
  anneal(gate, {.gamma = 0.5});
  CHECK(gate.gate().options().gamma == 0.5);
  const Matrix<double> x = random_matrix<double>(5, 9, 3);
  const auto routing = test::routed(gate, x);
  const auto frozen = test::routed(freeze(gate), x);
  REQUIRE(routing.num_entries() == frozen.num_entries());
  for (Index s = 0; s < 9; ++s)
    for (std::size_t i = 0; i < routing.experts(s).size(); ++i) {
      CHECK(routing.experts(s)[i] == frozen.experts(s)[i]);
      CHECK(routing.weights(s)[i] == frozen.weights(s)[i]);
    }
  std::ostringstream why, expected;
  why << explain(gate, x.col(0));
  Matrix<double> features(5, 1);
  const LayerNorm<double> norm({.input_dim = 5, .scale_and_shift = false});
  Pass norm_pass(norm);
  norm.predict(x.col(0), features, norm_pass);
  expected << explain(gate.gate(), features.col(0));
  CHECK(why.str() == expected.str());
}

TEST_CASE("ids go through, in a layer too, and misuse is named") {
  const NormalizedInput hash(HashGate<float>({.num_experts = 3}, RandomKey(1)));
  const MoeLayer layer(
      hash, make_experts<DenseExpert<float>>(3, {.input_dim = 2, .output_dim = 2}, RandomKey(2)));
  const MoeLayer plain(hash.gate(), layer.experts());
  const Matrix<float> x = random_matrix<float>(2, 4, 1);
  const std::vector<std::int32_t> ids{5, 1, 2, 0};
  Matrix<float> y(2, 4), expected(2, 4);
  Pass pass(layer);
  Pass plain_pass(plain);
  layer.predict(Samples{x, ids}, y, pass);
  plain.predict(Samples{x, ids}, expected, plain_pass);
  CHECK(test::same_bits(y, expected));
  CHECK_THROWS_WITH(
      NormalizedInput(HashGate<float>({.num_experts = 3}, RandomKey(1)), {.epsilon = 0}),
      "comet::NormalizedInput: epsilon is 0, expected a finite number > 0");
  Matrix<double> bad = random_matrix<double>(5, 3, 1);
  bad(2, 1) = std::nan("");
  CHECK_THROWS_WITH(test::routed(make_gate(), bad),
                    "comet::NormalizedInput::route: x(2, 1) is nan, expected a finite number");
}
