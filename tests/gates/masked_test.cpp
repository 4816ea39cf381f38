// SPDX-License-Identifier: MIT
#include <span>
#include <string>
#include <vector>

#include <comet/gates/any.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/expert_choice.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/replay.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

const std::vector<ExpertId> some{4, 1, 2};

}  // namespace

TEMPLATE_TEST_CASE("a masked softmax gate is the softmax over the experts that stay", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const SoftmaxGate<S> whole({.input_dim = 3, .num_experts = 6}, RandomKey(1));
  const MaskedExperts gate(whole, some);
  SoftmaxGate<S> few({.input_dim = 3, .num_experts = 3}, RandomKey(1));
  for (const char* name : {"weight", "bias"}) {
    auto from = test::parameter(const_cast<SoftmaxGate<S>&>(whole), name);
    auto to = test::parameter(few, name);
    for (Index i = 0; i < 3; ++i) {
      const ExpertId expert = std::vector<ExpertId>{1, 2, 4}[std::size_t(i)];
      if (from.cols() == 1) {
        to(i, 0) = from(expert, 0);
      } else {
        to.col(i) = from.col(expert);
      }
    }
  }
  const Matrix<S> x = random_matrix<S>(3, 20, 2);
  const Matrix<S> masked = test::routed(gate, x).dense(6);
  const Matrix<S> expected = test::routed(few, x).dense(3);
  Matrix<S> spread = Matrix<S>::Zero(6, 20);
  spread.row(1) = expected.row(0);
  spread.row(2) = expected.row(1);
  spread.row(4) = expected.row(2);
  CHECK(test::relative_error(masked, spread) <= (std::is_same_v<S, double> ? 1e-12 : 1e-5));
  CHECK(gate.max_active() == 3);
  CHECK_FALSE(gate.stays(0));
}

TEMPLATE_TEST_CASE("a masked gate obeys the laws of a gate, whatever is inside", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const MaskedWeights weights : {MaskedWeights::shares, MaskedWeights::kept}) {
    const auto check = [&](const auto& gate, bool sums_to_one) {
      test::check_laws(MaskedExperts(gate, some, weights),
                       {.sums_to_one = sums_to_one && weights == MaskedWeights::shares});
    };
    check(SoftmaxGate<S>({.input_dim = 3, .num_experts = 6}, RandomKey(1)), true);
    check(
        CometGate<S>({.input_dim = 3, .num_experts = 6, .gamma = 10, .entropy = 0.1}, RandomKey(1)),
        true);
    check(TopKGate<S>({.input_dim = 3, .num_experts = 6, .k = 2}, RandomKey(1)), false);
    check(HashGate<S>({.num_experts = 6}, RandomKey(1)), false);
    check(ExpertChoiceGate<S>({.input_dim = 3, .num_experts = 6}, RandomKey(1)), false);
    check(AnyGate<S>(SoftmaxGate<S>({.input_dim = 3, .num_experts = 6}, RandomKey(1))), true);
  }
}

TEST_CASE("what a masked gate hands on") {
  const MaskedExperts comet_gate(
      CometGate<double>({.input_dim = 3, .num_experts = 6}, RandomKey(1)), some);
  CHECK(capabilities(comet_gate) == GateCapabilities{.trains = true, .anneals = true});
  CHECK(gate_name(comet_gate) == "comet");
  static_assert(!FreezableGate<decltype(comet_gate)>);
  CHECK(depends_on_batch(MaskedExperts(
      ExpertChoiceGate<double>({.input_dim = 3, .num_experts = 6}, RandomKey(1)), some)));
  MaskedExperts balanced(
      BalancedTopKGate<double>({.input_dim = 3, .num_experts = 6, .rate = 0.5}, RandomKey(1)),
      some);
  Pass pass(balanced);
  Routing<double> routing;
  balanced.forward(random_matrix<double>(3, 9, 2), routing, RandomKey(1), pass);
  const std::vector<Index> load{0, 9, 0, 0, 0, 0};
  end_of_step(balanced, std::span(load), pass);
  CHECK(balanced.gate().selection_bias()[1] == -0.5);

  // A gate that needs no pass.
  MaskedExperts replayed(ReplayGate<double>({routing, routing}, 6), some);
  end_of_step(replayed, std::span(load));
  CHECK(replayed.gate().position() == 1);
  AnyGate<double> any(replayed);
  any.end_of_step(load);
  CHECK(any.get_if<decltype(replayed)>()->gate().position() == 2);
}

TEST_CASE("a selection bias does not turn to the experts that a mask leaves out") {
  MaskedExperts gate(BalancedTopKGate<double>(
                         {.input_dim = 3, .num_experts = 5, .k = 2, .rate = 0.01}, RandomKey(1)),
                     some);
  const Matrix<double> x = random_matrix<double>(3, 200, 2);
  Pass pass(gate);
  Routing<double> routing;
  const auto num_empty = [&] {
    gate.forward(x, routing, RandomKey(2), pass);
    Index count = 0;
    for (Index b = 0; b < 200; ++b) count += Index(routing.experts(b).empty());
    return count;
  };
  const Index before = num_empty();
  for (int step = 0; step < 100; ++step) {
    static_cast<void>(num_empty());
    std::vector<Index> load(5, 0);
    for (const ExpertId expert : routing.experts()) ++load[std::size_t(expert)];
    gate.end_of_step(load, pass);
  }
  CHECK(num_empty() <= before);
  for (const std::size_t other : {0U, 3U}) CHECK(gate.gate().selection_bias()[other] == 0);
  CHECK_THROWS_WITH(gate.end_of_step(std::vector<Index>(4, 0)),
                    "comet::BalancedTopKGate::end_of_step: load.size() is 4, expected "
                    "num_experts = 5");
}

TEST_CASE("a mask refuses what it cannot work with") {
  const SoftmaxGate<double> gate({.input_dim = 3, .num_experts = 6}, RandomKey(1));
  const auto make = [&](const std::vector<ExpertId>& experts) {
    return MaskedExperts(gate, experts);
  };
  CHECK_THROWS_WITH(make({}), "comet::MaskedExperts: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(make({1, 6}), "comet::MaskedExperts: an expert is 6, expected in 0..5");
  CHECK_THROWS_WITH(make({-1}), "comet::MaskedExperts: an expert is -1, expected in 0..5");
}

TEST_CASE("a mask is of the experts that there were when it was made") {
  const auto made = [](Index num_experts) {
    return CometGate<double>({.input_dim = 3, .num_experts = num_experts, .gamma = 10},
                             RandomKey(1));
  };
  MaskedExperts gate(made(6), some);
  CHECK(gate.stays(4));
  CHECK_FALSE(gate.stays(5));
  CHECK_THROWS_WITH(gate.stays(6),
                    "comet::MaskedExperts::stays: expert is 6, expected at least 0 and below "
                    "num_experts = 6");
  CHECK_THROWS_WITH(gate.stays(-1),
                    "comet::MaskedExperts::stays: expert is -1, expected at least 0 and below "
                    "num_experts = 6");
  gate.gate() = made(64);
  const Matrix<double> x = random_matrix<double>(3, 4, 1);
  Routing<double> routing;
  Pass pass(gate);
  CHECK_THROWS_WITH(gate.route(x, routing, pass),
                    "comet::MaskedExperts: the gate inside: an expert of routing sample 0 is 6, "
                    "expected at least 0 and below num_experts = 6");
  CHECK_THROWS_AS(gate.forward(x, routing, RandomKey(1), pass), std::invalid_argument);
  gate.gate() = made(5);
  CHECK(test::routed(gate, x).num_samples() == 4);
}

TEST_CASE("a gate inside that names no expert of its own is named") {
  struct Wild {
    using Scalar = double;
    struct Workspace {};
    ExpertId expert = 0;
    [[nodiscard]] Index num_experts() const { return 5; }
    [[nodiscard]] Index max_active() const { return 1; }
    void route(const Samples<double>& samples, Routing<double>& routing, Pass<Wild>&) const {
      routing.clear();
      for (Index b = 0; b < samples.size(); ++b) {
        routing.push(b == 2 ? expert : 0, 1);
        routing.end_sample();
      }
    }
  };
  const Matrix<double> x = random_matrix<double>(3, 4, 1);
  for (const ExpertId expert : {-1, 5, 1000}) {
    const std::string is = " is " + std::to_string(expert) + ", expected at least 0 and below ";
    Routing<double> routing;
    const MaskedExperts masked(Wild{.expert = expert}, some);
    Pass pass(masked);
    CHECK_THROWS_WITH(masked.route(x, routing, pass),
                      "comet::MaskedExperts: the gate inside: an expert of routing sample 2" + is +
                          "num_experts = 5");
    PermutedGate permuted{Wild{.expert = expert}};
    Pass own(permuted);
    CHECK_THROWS_WITH(
        permuted.route(x, routing, own),
        "comet::PermutedGate: the gate inside: an expert of its rows" + is + "number of slots = 5");
    const Matrix<double> soft = Matrix<double>::Constant(5, 5, 0.2);
    permuted.set_soft(std::span(&soft, 1), std::vector{Permutation::identity(5)});
    CHECK_THROWS_WITH(permuted.forward(x, routing, RandomKey(1), own),
                      "comet::PermutedGate: the gate inside: an expert of routing sample 2" + is +
                          "num_experts = 5");
  }
}
