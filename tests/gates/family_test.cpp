// SPDX-License-Identifier: MIT
// What holds of every gate that gates/all.hpp lists.
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

long allocation_count() { return test::allocations.load(); }

/// Eight experts: DSelect-k has as many codes, and its rows sum to 1.
template <class G>
testing::GateLawOptions<G> law_options(std::string_view name) {
  testing::GateLawOptions<G> options;
  options.sums_to_one = name != "remoe" && name != "expert_choice";
  options.at_most_one = name != "remoe";
  if (test::can_count_allocations) options.count_allocations = allocation_count;
  return options;
}

}  // namespace

TEMPLATE_TEST_CASE("every gate of the family obeys the laws, by itself and as any gate", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  GateFamily<S>::for_each([&]<class G>(std::type_identity<G>) {
    CAPTURE(G::name);
    const G gate({.input_dim = 3, .num_experts = 8, .k = 2}, RandomKey(1));
    test::check_laws(gate, law_options<G>(G::name));
    test::check_laws(AnyGate<S>(gate), law_options<AnyGate<S>>(G::name));
  });
}

TEMPLATE_TEST_CASE("every frozen gate of the family obeys the laws and routes to the same bits", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Matrix<S> x = test::random_matrix<S>(3, 20, 5);
  const std::vector<std::int32_t> ids(20, 7);
  for (const std::string_view name : GateFamily<S>::names) {
    CAPTURE(name);
    const auto gate = make_gate<S>(name, {.input_dim = 3, .num_experts = 8, .k = 2}, RandomKey(1));
    if (!gate.capabilities().freezes) {
      CHECK_THROWS_WITH(gate.freeze(),
                        "comet::AnyGate::freeze: " + comet::detail::a_gate(name) +
                            " cannot be frozen" +
                            (gate.depends_on_batch() ? ": its rows depend on their batch" : ""));
      continue;
    }
    const AnyGate<S> frozen = gate.freeze();
    auto options = law_options<AnyGate<S>>(name);
    options.differences = false;  // it has no gradient, by x neither
    test::check_laws(frozen, options);
    CHECK(test::same_bits(test::routed(frozen, {x, ids}).dense(8),
                          test::routed(gate, {x, ids}).dense(8)));
  }
}

TEST_CASE("a pass that has routed since forward() holds its penalty no more") {
  const Matrix<double> x = test::random_matrix<double>(3, 20, 5);
  for (const std::string_view name : GateFamily<double>::names) {
    CAPTURE(name);
    GateOptions options{.input_dim = 3, .num_experts = 8, .k = 2};
    if (name == "remoe") {
      options.sparsity = 0.1;
    } else if (name != "balanced_top_k" && name != "expert_choice" && name != "hash") {
      options.entropy = 0.1;
    } else {
      continue;  // it has no penalty
    }
    const auto gate = make_gate<double>(name, options, RandomKey(1));
    Pass pass(gate);
    Routing<double> routing;
    gate.forward(x, routing, RandomKey(2), pass);
    CHECK(gate.regularization(pass) > 0);
    gate.route(x, routing, pass);
    CHECK(gate.regularization(pass) == 0);
  }
}

TEST_CASE("a gate learns from half a million samples as from one, in float too") {
  const Index samples = 500'000;
  for (const std::string_view name : GateFamily<float>::names) {
    CAPTURE(name);
    const auto gate =
        make_gate<float>(name, {.input_dim = 1, .num_experts = 2, .k = 2}, RandomKey(1));
    // A row that is another one for each of equal samples has no such sum.
    if (!gate.capabilities().trains || gate.depends_on_batch() || name == "sampled") continue;
    const auto gradients_of = [&](Index count) {
      Pass pass(gate);
      Routing<float> routing;
      const Matrix<float> x = Matrix<float>::Ones(1, count);
      gate.forward(x, routing, RandomKey(2), pass);
      std::vector<float> dweights;
      for (const ExpertId expert : routing.experts())
        dweights.push_back(expert == 0 ? 0.37F : -0.2F);
      gate.backward(x, routing, dweights, no_gradient, pass);
      return test::gradients_of(gate, pass);
    };
    const auto of_one = gradients_of(1), of_all = gradients_of(samples);
    for (std::size_t i = 0; i < of_one.size(); ++i)
      CHECK(of_all[i] == Approx(float(samples) * of_one[i]).epsilon(3e-4));
  }
}

TEMPLATE_TEST_CASE("a gate can do at run time what its type says", "", COMET_TEST_SCALARS) {
  using S = TestType;
  std::size_t number = 0;
  GateFamily<S>::for_each([&]<class G>(std::type_identity<G>) {
    CAPTURE(G::name);
    AnyGate<S> gate = make_gate<S>(G::name, {.input_dim = 3, .num_experts = 8}, RandomKey(1));
    REQUIRE(gate.template get_if<G>() != nullptr);
    const GateCapabilities can = capabilities(gate);
    CHECK(can == capabilities_of<G>);
    CHECK(can == GateFamily<S>::capabilities[number++]);
    CHECK(gate_name(gate) == G::name);
    const auto works = [&](auto call) {
      try {
        call();
        return true;
      } catch (const std::invalid_argument& refused) {
        CHECK_THAT(refused.what(), ContainsSubstring(std::string(G::name) + " gate "));
        return false;
      }
    };
    Pass pass(gate);
    Routing<S> routing;
    const Matrix<S> x = test::random_matrix<S>(3, 1, 2);
    CHECK(works([&] { gate.anneal({.gamma = 0.5, .entropy = 0.1, .spread = 0.1}); }) ==
          can.anneals);
    const Matrix<S> batch = test::random_matrix<S>(3, 64, 3);
    CHECK(works([&] { gate.split_evenly(batch, RandomKey(4)); }) == can.splits);
    CHECK(works([&] { (void)gate.freeze(); }) == can.freezes);
    CHECK(works([&] { (void)gate.explain(x); }) == can.explains);
    gate.forward({x, std::vector<std::int32_t>{5}}, routing, RandomKey(3), pass);
    CHECK(works([&] { end_of_step(gate, std::vector<Index>(8, 1), pass); }) == can.loads);
    CHECK(works([&] { (void)gate.num_selectors(); }) == can.selectors);
    CHECK(works([&] { gate.route_slots(x, routing, pass); }) == can.selectors);
  });
}

TEST_CASE("the program of the README trains with every gate by changing one word") {
  const auto run = []<class G>(std::type_identity<G>) {
    CAPTURE(G::name);
    const RandomKey key(1);
    MoeLayer layer(
        G({.input_dim = 2, .num_experts = 8, .k = 2}, key.fold(0)),
        make_experts<DenseExpert<double>>(
            8, {.input_dim = 2, .output_dim = 1, .activation = Activation::identity}, key.fold(1)));
    Pass pass(layer);
    Adam adam(layer, {.learning_rate = 0.01});
    Matrix<double> x(2, 128), y(1, 128), dy(1, 128);
    key.fold(2).fill_uniform(x, -1, 1);
    const Matrix<double> target = x.row(0).cwiseAbs() - x.row(1).cwiseAbs();
    std::vector<std::int32_t> ids;  // for a hash gate: the quadrant, where the target is linear
    for (Index b = 0; b < 128; ++b) ids.push_back(2 * (x(0, b) > 0) + (x(1, b) > 0));
    double first = 0, loss = 0;
    for (Index step = 0; step <= 150; ++step) {
      layer.forward(Samples{x, ids}, y, key.fold(3).fold(step), pass);
      loss = mean_squared_error(y, target, dy);
      if (step == 0) first = loss;
      layer.backward(Samples{x, ids}, dy, pass);
      adam.step(layer, pass);
    }
    CHECK(loss < 0.95 * first);
  };
  GateFamily<double>::for_each(run);
}

TEST_CASE("a hash gate in a layer says that it wants ids") {
  const RandomKey key(1);
  MoeLayer layer(HashGate<double>({.input_dim = 2, .num_experts = 8, .k = 2}, key),
                 make_experts<DenseExpert<double>>(8, {.input_dim = 2, .output_dim = 1}, key));
  Pass pass(layer);
  Matrix<double> x = Matrix<double>::Zero(2, 512), y(1, 512);
  CHECK_THROWS_WITH(layer.forward(x, y, key, pass),
                    "comet::HashGate::route: samples.ids.size() is 0, expected one id per sample, "
                    "x.cols() = 512: Samples{x, ids}");
}

TEST_CASE("a gate made by name is the gate itself, with all its options") {
  const Matrix<double> x = test::random_matrix<double>(3, 9, 5);
  const RandomKey key(4);
  const auto same = [&](const auto& gate, const GateOptions& options) {
    const auto made = make_gate<double>(gate_name(gate), options, key);
    const auto* inside = made.template get_if<std::remove_cvref_t<decltype(gate)>>();
    REQUIRE(inside != nullptr);
    CHECK(test::same_bits(test::values_of(made), test::values_of(gate)));
    CHECK(test::same_bits(test::routed(made, x).dense(6), test::routed(gate, x).dense(6)));
    return inside->options();
  };
  const auto comet = same(
      CometGate<double>({.input_dim = 3, .num_experts = 6, .k = 3, .gamma = 0.5}, key),
      {.input_dim = 3, .num_experts = 6, .k = 3, .gamma = 0.5, .entropy = 0.25, .spread = 0.75});
  CHECK(comet.entropy == 0.25);
  CHECK(comet.spread == 0.75);
  const auto selectors = same(DSelectKGate<double>({.input_dim = 3, .num_experts = 6}, key),
                              {.input_dim = 3, .num_experts = 6, .reachability = 0.125});
  CHECK(selectors.reachability == 0.125);
  CHECK(selectors.gamma == DSelectKGateOptions().gamma);
  const auto top =
      same(TopKGate<double>(
               {.input_dim = 3, .num_experts = 6, .softmax = TopKSoftmax::all, .noise = true}, key),
           {.input_dim = 3,
            .num_experts = 6,
            .softmax = TopKSoftmax::all,
            .noise = true,
            .load_balance = 0.5,
            .importance = 0.25,
            .router_z = 0.125});
  CHECK(top.load_balance == 0.5);
  CHECK(top.importance == 0.25);
  CHECK(top.router_z == 0.125);
  const auto balanced = same(
      BalancedTopKGate<double>(
          {.input_dim = 3, .num_experts = 6, .scores = GateScores::sigmoid, .normalize = false},
          key),
      {.input_dim = 3,
       .num_experts = 6,
       .scores = GateScores::sigmoid,
       .normalize = false,
       .update = BiasUpdate::quantile,
       .rate = 0.5});
  CHECK(balanced.update == BiasUpdate::quantile);
  CHECK(balanced.rate == 0.5);
  const auto sampled =
      same(SampledGate<double>({.input_dim = 3, .num_experts = 6}, key),
           {.input_dim = 3, .num_experts = 6, .temperature = 2, .trimmed_lasso = 0.5});
  CHECK(sampled.temperature == 2);
  CHECK(sampled.trimmed_lasso == 0.5);
  const auto relu = same(ReMoeGate<double>({.input_dim = 3, .num_experts = 6}, key),
                         {.input_dim = 3, .num_experts = 6, .sparsity = 0.5, .growth = 2});
  CHECK(relu.sparsity == 0.5);
  CHECK(relu.growth == 2);
  same(ExpertChoiceGate<double>({.input_dim = 3, .num_experts = 6, .k = 3}, key),
       {.input_dim = 3, .num_experts = 6, .k = 3});
  const auto hash = make_gate<double>("hash", {.num_experts = 6, .num_ids = 40}, key);
  CHECK(hash.get_if<HashGate<double>>()->num_ids() == 40);
}

TEST_CASE("a gate that does not exist, or an option that it lacks, is refused in words") {
  const RandomKey key(1);
  CHECK_THROWS_WITH(make_gate<float>("tree", {}, key),
                    "comet::make_gate: name is tree, expected one of comet, dselect_k, "
                    "static_dselect_k, top_k, balanced_top_k, sampled, remoe, expert_choice, hash, "
                    "softmax");
  const auto lacks = [&](const char* name, GateOptions options, const std::string& option) {
    options.input_dim = 2;
    options.num_experts = 4;
    CHECK_THROWS_WITH(
        make_gate<float>(name, options, key),
        "comet::make_gate: " + comet::detail::a_gate(name) + " has no option " + option);
  };
  lacks("top_k", {.gamma = 0.5}, "gamma");
  lacks("remoe", {.entropy = 0.0}, "entropy");
  lacks("expert_choice", {.spread = 0.1}, "spread");
  lacks("comet", {.reachability = 0.5}, "reachability");
  lacks("softmax", {.softmax = TopKSoftmax::all}, "softmax");
  lacks("dselect_k", {.noise = false}, "noise");
  lacks("comet", {.load_balance = 0.1}, "load_balance");
  lacks("hash", {.importance = 0.1}, "importance");
  lacks("static_dselect_k", {.router_z = 0.1}, "router_z");
  lacks("top_k", {.num_ids = 10}, "num_ids");
  lacks("top_k", {.scores = GateScores::sigmoid}, "scores");
  lacks("sampled", {.normalize = true}, "normalize");
  lacks("remoe", {.update = BiasUpdate::sign}, "update");
  lacks("expert_choice", {.rate = 0.1}, "rate");
  lacks("balanced_top_k", {.temperature = 2}, "temperature");
  lacks("comet", {.trimmed_lasso = 0.1}, "trimmed_lasso");
  lacks("softmax", {.sparsity = 0.1}, "sparsity");
  lacks("hash", {.growth = 2}, "growth");
  CHECK_THROWS_WITH(make_gate<float>("top_k", {.input_dim = 2, .num_experts = 4, .k = 5}, key),
                    "comet::TopKGate: k is 5, expected at most num_experts = 4");
  CHECK_THROWS_WITH(make_gate<float>("comet", {.num_experts = 4}, key),
                    "comet::CometGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make_gate<float>("comet", {.input_dim = 2}, key),
                    "comet::CometGate: num_experts is 0, expected at least 1");
}

TEST_CASE("every gap of the family has its reason, and the docs have the table") {
  CHECK(why_not("comet", "trains").empty());
  CHECK(why_not("top_k", "anneals") == "exactly k from the first step");
  std::ifstream file(std::string(COMET_TEST_DATA) + "/../../docs/concepts.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  const std::string begin = "<!-- gates: begin -->\n", end = "<!-- gates: end -->";
  const auto from = page.find(begin), to = page.find(end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  CHECK(page.substr(from + begin.size(), to - from - begin.size()) == gate_table());
}
