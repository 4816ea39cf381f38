// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <map>
#include <sstream>
#include <string>

#include <comet/gates/comet.hpp>
#include <comet/inference/explain.hpp>
#include <comet/local_search/permuted_gate.hpp>
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

template <class G>
void check_against_route(const G& gate, const Matrix<double>& x) {
  typename G::Workspace workspace;
  Routing<double> routing;
  for (Index b = 0; b < x.cols(); ++b) {
    gate.route(x.col(b), routing, workspace);
    const auto explanation = explain(gate, x.col(b));
    REQUIRE(explanation.experts.size() == routing.experts().size());
    std::map<ExpertId, double> sums;
    std::map<Index, double> reach;
    for (const auto& node : explanation.nodes) {
      CHECK(node.reach > 0);
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
    for (const auto& [tree, sum] : reach) CHECK(sum == Approx(1));
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
  CHECK(root.logit == 2);
  CHECK(root.share == 1);
  CHECK(root.margin == 1.5);
  CHECK(root.distance == 0.75);
  REQUIRE(root.parts.size() == 1);
  CHECK(root.parts[0].feature == 0);
  CHECK(root.parts[0].value == 2);
  const auto& second = explanation.nodes[1];
  CHECK(second.number == 1);
  CHECK(second.share == 0);
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
        "  split 0: left; logit 2, margin 1.5, distance 0.75; age +2\n"
        "    split 1: right; logit -1.75, margin 1.25, distance 1.25; year -2\n"
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
    const bool inside = std::abs(nearest->logit) < 0.15;
    const double sign = (nearest->logit > 0) == inside ? 1 : -1;
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
      parameter(gate, "split.weight") = random_matrix<double>(4, (n - 1) * gate.num_trees(), 8);
    const Matrix<double> x = random_matrix<double>(4, 20, 9);
    check_against_route(gate, x);
    PermutedGate permuted(gate);
    permuted.set_permutation(Permutation::random(n, RandomKey(10)));
    check_against_route(permuted, x);
    std::vector<Permutation> each;
    for (Index j = 0; j < gate.num_trees(); ++j)
      each.push_back(Permutation::random(n, RandomKey(11).fold(j)));
    permuted.set_permutations(each);
    check_against_route(permuted, x);
  }
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
                    "comet::CometGate::route: x.rows() is 3, expected input_dim = 2");
}
