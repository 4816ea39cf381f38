// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/normalized_input.hpp>
#include <comet/gates/sampled.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/explain.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <support/gates.hpp>
#include <support/locale.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

namespace {

/// One tree over two features and three experts: split 0 looks at x0, split 1 at x1. Leaves from
/// left to right: 3, 4 (below split 1), 2.
CometGate<double> hand_made() {
  CometGate<double> gate({.input_dim = 2, .num_experts = 3, .k = 1, .gamma = 1.0}, RandomKey(1));
  parameter(gate, "split.weight") << 2, 0, 0, 1;
  parameter(gate, "split.bias") << 0, 0.25;
  parameter(gate, "leaf.weight").setZero();
  parameter(gate, "leaf.bias").setZero();
  return gate;
}

/// A logit's parts, as many as there are, and what they leave add up to it.
void check_sum(const Explanation<double>::Logit& logit) {
  double sum = logit.constant + logit.rest;
  for (const auto& part : logit.parts) sum += part.value;
  CHECK(sum == Approx(logit.value).margin(1e-14));
}

template <class G>
void check_against_route(const G& gate, const Matrix<double>& x, bool loses_codes = false) {
  for (Index b = 0; b < x.cols(); ++b) {
    const Routing<double> routing = test::routed(gate, x.col(b));
    const auto explanation = explain(gate, x.col(b));
    REQUIRE(explanation.experts.size() == routing.experts().size());
    std::map<ExpertId, double> sums;
    std::map<Index, double> reach;
    for (const auto& node : explanation.nodes) {
      CHECK(node.reach > 0);
      check_sum(node.logit);
      if (!node.is_leaf) continue;
      sums[node.expert] += node.weight;
      reach[node.tree] += node.reach;
    }
    for (std::size_t i = 0; i < routing.experts().size(); ++i) {
      const ExpertId expert = routing.experts()[i];
      CHECK(explanation.experts[i].expert == expert);
      CHECK(explanation.experts[i].weight == routing.weights()[i]);
      REQUIRE(sums.count(expert) == 1);
      CHECK(sums[expert] == Approx(routing.weights()[i]).epsilon(1e-14));
    }
    CHECK(sums.size() == routing.experts().size());
    for (const auto& [tree, sum] : reach)
      if (!loses_codes) CHECK(sum == Approx(1));
  }
}

}  // namespace

TEST_CASE("a path of a hand-made tree is explained with its margins") {
  const auto gate = hand_made();
  const Eigen::Vector2d x(1, -2);  // split 0: logit 2, left; split 1: logit -1.75, right
  const auto explanation = explain(gate, x, {.features = {"age", "year"}});
  REQUIRE(explanation.nodes.size() == 3);
  const auto& root = explanation.nodes[0];
  CHECK(root.number == 0);
  CHECK(root.logit.value == 2);
  CHECK(root.logit.constant == 0);
  CHECK(root.logit.rest == 0);
  CHECK(root.left == 1);
  CHECK(root.right == 0);
  CHECK(root.margin == 1.5);
  CHECK(root.distance == 0.75);
  REQUIRE(root.logit.parts.size() == 1);
  CHECK(root.logit.parts[0].feature == 0);
  CHECK(root.logit.parts[0].value == 2);
  const auto& second = explanation.nodes[1];
  CHECK(second.number == 1);
  CHECK(second.left == 0);
  CHECK(second.logit.constant == 0.25);
  CHECK(second.margin == 1.25);
  CHECK(second.distance == 1.25);
  CHECK(explanation.nodes[2].is_leaf);
  CHECK(explanation.nodes[2].number == 4);
  CHECK(explanation.nodes[2].expert == 1);
  CHECK(explanation.nodes[2].weight == 1);
  CHECK(explanation.distance == 0.75);
  REQUIRE(explanation.experts.size() == 1);

  std::ostringstream text;
  text << explanation;
  CHECK(text.str() ==
        "expert 1: 1\n"
        "same leaves within a distance of 0.75\n"
        "tree 0\n"
        "  split 0: left; logit 2, margin 1.5, distance 0.75; age +2, constant +0\n"
        "    split 1: right; logit -1.75, margin 1.25, distance 1.25; year -2, constant +0.25\n"
        "      expert 1, weight 1\n");

  std::ostringstream dot;
  write_dot(explain(gate, x, {.experts = {"a", "the \"b\"", "c"}}), dot);
  CHECK(dot.str() ==
        "digraph comet {\n"
        "  node [shape=box];\n"
        "  t0n0 [label=\"tree 0, split 0  logit 2  margin 1.5\"];\n"
        "  t0n0 -> t0n1 [label=\"left 1\"];\n"
        "  t0n2 [shape=point, color=gray];\n"
        "  t0n0 -> t0n2 [label=\"right 0\", style=dashed, color=gray];\n"
        "  t0n1 [label=\"tree 0, split 1  logit -1.75  margin 1.25\"];\n"
        "  t0n3 [shape=point, color=gray];\n"
        "  t0n1 -> t0n3 [label=\"left 0\", style=dashed, color=gray];\n"
        "  t0n1 -> t0n4 [label=\"right 1\"];\n"
        "  t0n4 [shape=ellipse, label=\"the \\\"b\\\"  1\"];\n"
        "}\n");
}

TEST_CASE("within the distance the leaves are the same, beyond it they are not") {
  CometGate<double> gate({.input_dim = 3, .num_experts = 8, .k = 2, .gamma = 0.3}, RandomKey(3));
  parameter(gate, "split.weight") = random_matrix<double>(3, 14, 5);
  parameter(gate, "split.bias") = random_matrix<double>(14, 1, 6, -0.3, 0.3);
  const auto leaves = [](const Explanation<double>& explanation) {
    std::vector<std::pair<Index, Index>> result;
    for (const auto& node : explanation.nodes)
      if (node.is_leaf) result.emplace_back(node.tree, node.number);
    return result;
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Matrix<double> x = random_matrix<double>(3, 1, 100 + seed);
    const auto here = explain(gate, x);
    REQUIRE(here.distance > 0);
    const Explanation<double>::Node* nearest = nullptr;
    for (const auto& node : here.nodes)
      if (!node.is_leaf && node.distance == here.distance) nearest = &node;
    REQUIRE(nearest != nullptr);
    // Straight towards the plane at which the nearest split changes, and in random directions.
    const auto w = gate.splits().weight().col(nearest->number * 2 + nearest->tree);
    const bool inside = std::abs(nearest->logit.value) < 0.15;
    const double sign = (nearest->logit.value > 0) == inside ? 1 : -1;
    const Matrix<double> straight = sign * w.normalized();
    CHECK(leaves(explain(gate, x + 0.999 * here.distance * straight)) == leaves(here));
    CHECK(leaves(explain(gate, x + 1.001 * here.distance * straight)) != leaves(here));
    for (std::uint64_t i = 0; i < 5; ++i) {
      const Matrix<double> any = random_matrix<double>(3, 1, 1000 + 10 * seed + i).normalized();
      CHECK(leaves(explain(gate, x + 0.999 * here.distance * any)) == leaves(here));
    }
  }
}

TEST_CASE("an explanation agrees with route(), permuted or not") {
  for (const Index n : {1, 2, 5, 8, 13}) {
    CAPTURE(n);
    CometGate<double> gate(
        {.input_dim = 4, .num_experts = n, .k = std::min(Index(3), n), .gamma = 0.5}, RandomKey(7));
    if (n > 1)
      parameter(gate, "split.weight") = random_matrix<double>(4, (n - 1) * gate.num_selectors(), 8);
    const Matrix<double> x = random_matrix<double>(4, 20, 9);
    check_against_route(gate, x);
    PermutedGate permuted(gate);
    permuted.set_permutation(Permutation::random(n, RandomKey(10)));
    check_against_route(permuted, x);
    std::vector<Permutation> each;
    for (Index j = 0; j < gate.num_selectors(); ++j)
      each.push_back(Permutation::random(n, RandomKey(11).fold(j)));
    permuted.set_permutations(each);
    check_against_route(permuted, x);
  }
}

TEST_CASE("an explanation of DSelect-k agrees with route(), permuted or not") {
  for (const Index n : {1, 2, 5, 8, 13}) {
    CAPTURE(n);
    const bool loses_codes = n == 1 || n == 5 || n == 13;
    const Index k = std::min(Index(3), n);
    DSelectKGate<double> gate({.input_dim = 4, .num_experts = n, .k = k, .gamma = 0.5},
                              RandomKey(7));
    parameter(gate, "bit.weight") = random_matrix<double>(4, gate.bits().size(), 8);
    const Matrix<double> x = random_matrix<double>(4, 20, 9);
    check_against_route(gate, x, loses_codes);
    PermutedGate permuted(gate);
    permuted.set_permutation(Permutation::random(n, RandomKey(10)));
    check_against_route(permuted, x, loses_codes);
    std::vector<Permutation> each;
    for (Index j = 0; j < k; ++j) each.push_back(Permutation::random(n, RandomKey(11).fold(j)));
    permuted.set_permutations(each);
    check_against_route(permuted, x, loses_codes);
  }
}

TEST_CASE("bits of DSelect-k are splits whose right child has the bit 1") {
  DSelectKGate<double> gate({.input_dim = 2, .num_experts = 4, .k = 1}, RandomKey(1));
  parameter(gate, "bit.weight") << 2, 0, 0, 1;
  parameter(gate, "bit.bias") << 0, 0.25;
  const auto explanation = explain(gate, Eigen::Vector2d(1, -2), {.features = {"age", "year"}});
  std::ostringstream text;
  text << explanation;
  CHECK(text.str() ==
        "expert 2: 1\n"
        "same leaves within a distance of 0.75\n"
        "tree 0\n"
        "  split 0: right; logit 2, margin 1.5, distance 0.75; age +2, constant +0\n"
        "    split 2: left; logit -1.75, margin 1.25, distance 1.25; year -2, constant +0.25\n"
        "      expert 2, weight 1\n");
}

TEST_CASE("what DSelect-k loses beyond the last expert is said") {
  DSelectKGate<double> gate({.input_dim = 1, .num_experts = 3, .k = 1}, RandomKey(1));
  parameter(gate, "bit.weight").setZero();
  parameter(gate, "bit.bias") << 9, 0;  // 10 and 11, half each
  const auto explanation = explain(gate, Matrix<double>::Ones(1, 1));
  std::ostringstream text;
  text << explanation;
  CHECK_THAT(text.str(), ContainsSubstring("expert 2: 0.5\n"));
  CHECK_THAT(text.str(),
             ContainsSubstring("split 2: left 0.5, right 0.5; logit 0, margin 0.5, distance inf; "
                               "constant +0; no expert to the right, its share is lost\n"));
  std::ostringstream dot;
  write_dot(explanation, dot);
  CHECK_THAT(dot.str(), ContainsSubstring("t0n6 [shape=ellipse, label=\"no expert\"];"));
}

TEST_CASE("Top-k is explained by what speaks for the taken against the best that is not") {
  TopKGate<double> gate({.input_dim = 5, .num_experts = 4, .k = 2}, RandomKey(1));
  parameter(gate, "weight").setZero();
  parameter(gate, "weight").col(2) << 1, 2, 3, 4, 5;
  parameter(gate, "weight").col(0) << 0, 0, 0, 0, 10;
  parameter(gate, "bias") << 0, 0.5, 1, -3;
  const Matrix<double> x = Matrix<double>::Ones(5, 1);  // logits 10, 0.5, 16, -3
  const auto explanation = explain(gate, x);
  CHECK(explanation.nodes.empty());
  REQUIRE(explanation.choices.size() == 2);
  const auto& first = explanation.choices[0];
  CHECK(first.expert == 2);
  CHECK(first.against == 1);
  CHECK(first.lead.value == 15.5);
  CHECK(first.lead.constant == 0.5);
  REQUIRE(first.lead.parts.size() == 3);
  CHECK(first.lead.parts[0].feature == 4);
  CHECK(first.lead.parts[0].value == 5);
  CHECK(first.lead.rest == 3);
  check_sum(first.lead);
  CHECK(first.distance == Approx(15.5 / std::sqrt(55.0)));
  CHECK(explanation.choices[1].expert == 0);
  CHECK(explanation.distance == Approx(0.95));
  std::ostringstream text;
  text << explanation;
  CHECK_THAT(text.str(),
             ContainsSubstring("same experts within a distance of 0.95\n"
                               "expert 2 against expert 1: lead 15.5, distance 2.09; x[4] +5, "
                               "x[3] +4, x[2] +3, constant +0.5, rest +3\n"
                               "expert 0 against expert 1: lead 9.5, distance 0.95; x[4] +10, "
                               "constant -0.5\n"));
  std::ostringstream dot;
  write_dot(explanation, dot);
  CHECK_THAT(dot.str(), ContainsSubstring("\"expert 1\" -> \"expert 2\" [label=\"lead 15.5\"];"));
}

TEST_CASE("within the distance Top-k takes the same experts, beyond it others") {
  TopKGate<double> gate({.input_dim = 3, .num_experts = 7, .k = 3}, RandomKey(3));
  const auto taken = [](const Explanation<double>& explanation) {
    std::vector<ExpertId> experts;
    for (const auto& entry : explanation.experts) experts.push_back(entry.expert);
    return experts;
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Matrix<double> x = random_matrix<double>(3, 1, 100 + seed);
    const auto here = explain(gate, x);
    REQUIRE(here.distance > 0);
    for (std::uint64_t i = 0; i < 20; ++i) {
      const Matrix<double> any = random_matrix<double>(3, 1, 1000 + 20 * seed + i).normalized();
      CHECK(taken(explain(gate, x + 0.999 * here.distance * any)) == taken(here));
    }
    // Straight towards each plane of equal logits between a taken expert and another one.
    bool changed = false;
    for (const ExpertId i : taken(here))
      for (ExpertId j = 0; j < 7; ++j) {
        const Vector<double> w =
            parameter(gate, "weight").col(j) - parameter(gate, "weight").col(i);
        if (w.norm() == 0) continue;
        changed |= taken(explain(gate, x + 1.001 * here.distance * w.normalized())) != taken(here);
      }
    CHECK(changed);
  }
}

TEST_CASE("explanations by logits agree with route(), permuted or not") {
  const auto check = [](const auto& gate, const Matrix<double>& x) {
    for (Index b = 0; b < x.cols(); ++b) {
      const Routing<double> routing = test::routed(gate, x.col(b));
      const auto explanation = explain(gate, x.col(b));
      REQUIRE(explanation.experts.size() == routing.experts().size());
      for (std::size_t i = 0; i < routing.experts().size(); ++i) {
        CHECK(explanation.experts[i].expert == routing.experts()[i]);
        CHECK(explanation.experts[i].weight == routing.weights()[i]);
      }
      for (const auto& choice : explanation.choices) {
        check_sum(choice.lead);
        CHECK(choice.lead.value >= 0);
        CHECK(choice.expert != choice.against);
      }
    }
  };
  const Matrix<double> x = random_matrix<double>(4, 10, 9);
  const TopKGate<double> top_k({.input_dim = 4, .num_experts = 6, .k = 2, .noise = true},
                               RandomKey(7));
  check(top_k, x);
  const SoftmaxGate<double> softmax({.input_dim = 4, .num_experts = 6}, RandomKey(7));
  check(softmax, x);
  check(SampledGate<double>({.input_dim = 4, .num_experts = 6, .k = 2}, RandomKey(7)), x);
  CHECK(explain(softmax, x.col(0)).choices.size() == 1);  // the first against the second
  CHECK(std::isinf(explain(softmax, x.col(0)).distance));
  CHECK(
      explain(TopKGate<double>({.input_dim = 4, .num_experts = 1, .k = 1}, RandomKey(7)), x.col(0))
          .choices.empty());
  PermutedGate permuted(top_k);
  permuted.set_permutation(Permutation::random(6, RandomKey(10)));
  check(permuted, x);
  CHECK(explain(permuted, x.col(0)).choices.front().against ==
        permuted.permutations().front()[explain(top_k, x.col(0)).choices.front().against]);
}

TEST_CASE("an explanation reads the same in every locale") {
  CometGate<double> gate({.input_dim = 1200, .num_experts = 3, .gamma = 2000}, RandomKey(1));
  const Matrix<double> x = Matrix<double>::Constant(1200, 1, 1.5);
  const auto write = [&] {
    std::ostringstream out;
    const auto explanation = explain(gate, x);
    out << explanation;
    write_dot(explanation, out);
    return out.str();
  };
  const std::string expected = write();
  const test::GroupingLocale grouping;
  CHECK(write() == expected);
}

TEMPLATE_TEST_CASE("gates explain themselves without a word on permutations and names", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const RandomKey key(1);
  const Matrix<S> x = test::random_matrix<S>(3, 1, 2);
  const TopKGate<S> top_k({.input_dim = 3, .num_experts = 4, .k = 2}, key);
  const auto explains = [&](const auto& gate) {
    CHECK(gate.explain(x).experts.size() == test::routed(gate, x).experts(0).size());
  };
  explains(top_k);
  explains(CometGate<S>({.input_dim = 3, .num_experts = 4}, key));
  explains(DSelectKGate<S>({.input_dim = 3, .num_experts = 4}, key));
  explains(PermutedGate(top_k));
  explains(NormalizedInput(top_k));
}

TEST_CASE("what cannot be explained is refused") {
  const auto gate = hand_made();
  const Matrix<double> x = Matrix<double>::Zero(2, 2);
  CHECK_THROWS_WITH(explain(gate, x), "comet::explain: x.cols() is 2, expected one sample = 1");
  CHECK_THROWS_WITH(explain(gate, x.col(0), {.features = {"age"}}),
                    "comet::explain: names.features.size() is 1, expected x.rows() = 2");
  CHECK_THROWS_WITH(explain(gate, x.col(0), {.experts = {"a"}}),
                    "comet::explain: names.experts.size() is 1, expected num_experts = 3");
  CHECK_THROWS_WITH(explain(gate, Eigen::Vector3d::Zero()),
                    "comet::explain: x.rows() is 3, expected input_dim = 2");
  CHECK_THROWS_WITH(explain(gate, Eigen::Vector2d(0, std::nan(""))),
                    "comet::explain: x(1, 0) is nan, expected a finite number");
}
