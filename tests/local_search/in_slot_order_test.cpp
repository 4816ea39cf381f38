// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/in_slot_order.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

constexpr Index d = 4, n = 7, samples = 50;

}  // namespace

TEST_CASE("experts in slot order make the wrapper unnecessary, for any gate") {
  const Index m = 3;
  const auto p = Permutation::random(n, RandomKey(7));
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto experts =
      make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m}, RandomKey(9));
  const auto check = [&](const auto& inner) {
    using G = std::decay_t<decltype(inner)>;
    using E = DenseExpert<double>;
    MoeLayer<PermutedGate<G>, E> wrapped({PermutedGate(inner)}, experts);
    wrapped.gates()[0].set_permutation(p);
    const MoeLayer<G, E> plain({inner}, in_slot_order(experts, p));
    Matrix<double> expected(m, samples), y(m, samples);
    Pass wrapped_pass(wrapped);
    Pass plain_pass(plain);
    wrapped.predict(x, expected, wrapped_pass);
    plain.predict(x, y, plain_pass);
    CHECK(y.isApprox(expected, 1e-14));
    const auto slots = test::routed(inner, x).dense(n);
    const auto labels = test::routed(wrapped.gates()[0], x).dense(n);
    for (Index i = 0; i < n; ++i) CHECK(test::same_bits(slots.row(i), labels.row(p[i])));
  };
  check(CometGate<double>({.input_dim = d, .num_experts = n, .gamma = 0.02}, RandomKey(2)));
  check(DSelectKGate<double>({.input_dim = d, .num_experts = n, .gamma = 0.02}, RandomKey(2)));
  check(TopKGate<double>({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(2)));
  CHECK_THROWS_WITH(in_slot_order(experts, Permutation::identity(n + 1)),
                    "comet::in_slot_order: p.size() is 8, expected experts.size() = 7");
}
