// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/permutation.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/testing/gate_laws.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

static_assert(TrainableGate<PermutedGate<CometGate<double>>>);
static_assert(TrainableGate<PermutedGate<HashGate<float>>>, "a search can train P for any gate");
static_assert(SelectorGate<CometGate<float>> && SelectorGate<DSelectKGate<double>>);
static_assert(!SelectorGate<TopKGate<float>> && !SelectorGate<HashGate<float>>);

namespace {

constexpr Index d = 4;
constexpr Index n = 6;
constexpr Index k = 2;
constexpr Index num_samples = 7;

CometGate<double> comet_gate(double entropy = 0) {
  return CometGate<double>(
      {.input_dim = d, .num_experts = n, .k = k, .gamma = 2.0, .entropy = entropy}, RandomKey(1));
}

/// Splits that are decided for some samples and open for others.
template <class Gate>
Gate spread(Gate gate) {
  std::uint64_t seed = 40;
  gate.visit_parameters([&](const ParameterName&, auto& values, auto&) {
    values = random_matrix<double>(values.rows(), values.cols(), seed++);
  });
  return gate;
}

/// Positive, but with sums that are not 1: what few Sinkhorn iterations leave.
std::vector<Matrix<double>> rough_matrices(Index count) {
  std::vector<Matrix<double>> list;
  for (Index j = 0; j < count; ++j)
    list.push_back(random_matrix<double>(n, n, 60 + std::uint64_t(j), 0.01, 0.6));
  return list;
}

template <class Gate>
Matrix<double> weights_of(const Gate& gate, const Matrix<double>& x) {
  typename Gate::Workspace workspace;
  Routing<double> routing;
  gate.route(x, routing, workspace);
  return routing.dense(gate.num_experts());
}

/// The gate with its soft permutations as parameters, so that a gradient check covers them.
template <class G>
struct SoftModel {
  using Scalar = double;

  PermutedGate<G> gate;
  Matrix<double> x;
  std::vector<Matrix<double>> soft;
  std::vector<Matrix<double>> dsoft;
  Matrix<double> dx;
  Matrix<double> upstream;

  void hand_over() {
    gate.set_soft(soft, std::vector<Permutation>(soft.size(), Permutation::identity(n)));
  }
  double loss() {
    hand_over();
    typename PermutedGate<G>::Workspace workspace;
    Routing<double> routing;
    gate.forward(x, routing, RandomKey(5), workspace);
    return routing.dense(n).cwiseProduct(upstream).sum() + gate.regularization(workspace);
  }
  void backward() {
    hand_over();
    test::add_gradients(gate, x, upstream, dx);
    for (std::size_t j = 0; j < soft.size(); ++j) gate.add_soft_gradient(Index(j), dsoft[j]);
  }
  template <class F>
  void visit_parameters(F&& f) {
    gate.visit_parameters(f);
    f("x", x, dx);
    for (std::size_t j = 0; j < soft.size(); ++j) f("soft", soft[j], dsoft[j]);
  }
};

template <class G>
void check_soft_gradients(const G& inner, Index count) {
  CAPTURE(count);
  SoftModel<G> model{PermutedGate(inner),
                     random_matrix<double>(d, num_samples, 2),
                     rough_matrices(count),
                     std::vector<Matrix<double>>(std::size_t(count), Matrix<double>::Zero(n, n)),
                     Matrix<double>::Zero(d, num_samples),
                     random_matrix<double>(n, num_samples, 3)};
  const auto result = testing::check_gradients(
      model, [&] { return model.loss(); }, [&] { model.backward(); });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-8);
  CHECK(result.num_checked >= d * num_samples + count * n * n);
}

}  // namespace

TEST_CASE("a permuted gate gives slot i's weight to expert pi(i), to the bit") {
  const auto inner = spread(comet_gate());
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  const Matrix<double> bare = weights_of(inner, x);
  REQUIRE((bare.array() == 0.0).any());
  PermutedGate gate(inner);
  CHECK(gate.permutations() == std::vector{Permutation::identity(n)});
  CHECK(test::same_bits(weights_of(gate, x), bare));

  const auto p = Permutation::random(n, RandomKey(3));
  gate.set_permutation(p);
  const Matrix<double> permuted = weights_of(gate, x);
  for (Index i = 0; i < n; ++i) CHECK(test::same_bits(permuted.row(p[i]), bare.row(i)));
  // forward() is the same as route() while P is hard.
  PermutedGate<CometGate<double>>::Workspace workspace;
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), workspace);
  CHECK(test::same_bits(routing.dense(n), permuted));
  test::check_rows(routing, n, x.cols(), gate.max_active());
}

TEST_CASE("permutations per selector act on each selector's weights") {
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  const std::vector<Permutation> p = {Permutation::random(n, RandomKey(3)),
                                      Permutation::random(n, RandomKey(4))};
  const auto check = [&](const auto& inner) {
    using G = std::decay_t<decltype(inner)>;
    typename G::Workspace workspace;
    Routing<double> routing;
    inner.route_slots(x, routing, workspace);
    REQUIRE_NOTHROW(routing.validate("test", n * k, x.cols()));
    for (const double weight : routing.weights()) CHECK(weight > 0);
    const Matrix<double> slots = routing.dense(n * k);
    Matrix<double> sum = Matrix<double>::Zero(n, x.cols());
    Matrix<double> expected = Matrix<double>::Zero(n, x.cols());
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < k; ++j) {
        sum.row(i) += slots.row(i * k + j);
        expected.row(p[std::size_t(j)][i]) += slots.row(i * k + j);
      }
    CHECK(sum.isApprox(weights_of(inner, x), 1e-14));

    PermutedGate gate(inner);
    gate.set_permutations(p);
    CHECK(weights_of(gate, x).isApprox(expected, 1e-14));
    // Hard: gradients of the gate and of x by finite differences.
    test::WithInput model(gate, Matrix<double>(x.leftCols(num_samples)));
    const Matrix<double> upstream = random_matrix<double>(n, num_samples, 8);
    const auto loss = [&] {
      typename PermutedGate<G>::Workspace ws;
      Routing<double> r;
      gate.forward(model.x, r, RandomKey(5), ws);
      return r.dense(n).cwiseProduct(upstream).sum() + gate.regularization(ws);
    };
    const auto result = testing::check_gradients(
        model, loss, [&] { test::add_gradients(gate, model.x, upstream, model.dx); });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
  };
  check(spread(comet_gate(0.3)));
  check(spread(DSelectKGate<double>(
      {.input_dim = d, .num_experts = n, .k = k, .gamma = 2.0, .entropy = 0.3, .reachability = 0.1},
      RandomKey(1))));
}

TEST_CASE("soft permutations: gradients of gate, input and P agree with finite differences",
          "[gradient]") {
  check_soft_gradients(spread(comet_gate(0.3)), 1);
  check_soft_gradients(spread(comet_gate(0.3)), k);
  const auto dselect = spread(DSelectKGate<double>(
      {.input_dim = d, .num_experts = n, .k = k, .gamma = 4.0, .entropy = 0.3}, RandomKey(1)));
  check_soft_gradients(dselect, 1);
  check_soft_gradients(dselect, k);
  check_soft_gradients(TopKGate<double>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1)),
                       1);
}

TEST_CASE("a soft permutation moves weight but makes none, and route() stays hard") {
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  const auto hard = Permutation::random(n, RandomKey(9));
  // n = 6 is not a power of two: DSelect-k loses weight to codes 6 and 7.
  const auto inner = spread(
      DSelectKGate<double>({.input_dim = d, .num_experts = n, .k = k, .gamma = 4.0}, RandomKey(1)));
  PermutedGate gate(inner);
  gate.set_permutation(hard);
  const Matrix<double> routed = weights_of(gate, x);
  gate.set_soft(rough_matrices(1), std::vector{hard});
  CHECK(gate.is_soft());
  PermutedGate<DSelectKGate<double>>::Workspace workspace;
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), workspace);
  const Matrix<double> soft = routing.dense(n);
  CHECK(soft.colwise().sum().isApprox(routed.colwise().sum(), 1e-14));
  CHECK((soft.array() > 0).any());
  CHECK(soft.colwise().sum().minCoeff() < 0.9);
  CHECK(test::same_bits(weights_of(gate, x), routed));

  // A permutation in soft form is the permutation.
  gate.set_soft(std::vector{hard.matrix()}, std::vector{hard});
  gate.forward(x, routing, RandomKey(0), workspace);
  CHECK(routing.dense(n).isApprox(routed, 1e-14));
  gate.set_permutation(hard);
  CHECK_FALSE(gate.is_soft());
}

TEMPLATE_TEST_CASE("a permuted gate keeps the training protocol", "", COMET_TEST_SCALARS) {
  using S = TestType;
  PermutedGate gate(
      CometGate<S>({.input_dim = d, .num_experts = n, .k = k, .entropy = 0.2}, RandomKey(1)));
  const Matrix<S> x = random_matrix<S>(d, num_samples, 2);
  SECTION("one permutation") { gate.set_permutation(Permutation::random(n, RandomKey(3))); }
  SECTION("one per selector") {
    gate.set_permutations(
        {Permutation::random(n, RandomKey(3)), Permutation::random(n, RandomKey(4))});
  }
  SECTION("soft") { gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)}); }
  test::check_training_protocol(gate, x);
  test::check_batch_invariance(gate, x);
}

TEMPLATE_TEST_CASE("a permuted gate obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const auto check = [](const auto& inner, std::vector<Permutation> permutations, Index num_ids,
                        bool sums_to_one) {
    PermutedGate gate(inner);
    using Wrapped = decltype(gate);
    const bool shared = permutations.size() == 1;
    gate.set_permutations(std::move(permutations));
    testing::GateLawOptions<Wrapped> options{.num_ids = num_ids, .sums_to_one = sums_to_one};
    if (shared)
      options.relabel = [](Wrapped& g, const Permutation& p) {
        g.set_permutation(compose(g.permutations().front(), p));
      };
    for (const auto& broken : testing::check_gate_laws(gate, options)) FAIL_CHECK(broken);
  };
  const auto p = Permutation::random(n, RandomKey(3));
  const std::vector<Permutation> two = {p, Permutation::random(n, RandomKey(4))};
  const CometGate<S> tree({.input_dim = d, .num_experts = n, .k = k, .entropy = 0.1}, RandomKey(1));
  check(tree, {p}, 0, true);
  check(tree, two, 0, true);
  const DSelectKGate<S> code({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1));
  check(code, {p}, 0, false);
  check(code, two, 0, false);
  check(TopKGate<S>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1)), {p}, 0, true);
  check(HashGate<S>({.num_ids = 30, .num_experts = n}, RandomKey(1)), {p}, 30, true);
}

TEST_CASE("a permuted gate gives the same bits for any number of threads") {
  PermutedGate gate(
      CometGate<float>({.input_dim = 64, .num_experts = 16, .k = 2, .entropy = 0.2}, RandomKey(1)));
  gate.set_permutation(Permutation::random(16, RandomKey(3)));
  test::check_thread_invariance(gate, random_matrix<float>(64, 512, 2));
}

TEST_CASE("a failed backward() leaves the gradient of P alone") {
  PermutedGate gate(comet_gate());
  gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
  const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
  PermutedGate<CometGate<double>>::Workspace workspace;
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), workspace);
  const std::vector<double> dweights(std::size_t(routing.num_entries()), 1.0);
  Matrix<double> none(0, 0);
  const Matrix<double> fewer = x.leftCols(num_samples - 1);
  CHECK_THROWS(gate.backward(fewer, routing, dweights, none, workspace));
  Matrix<double> gradient = Matrix<double>::Zero(n, n);
  gate.add_soft_gradient(0, gradient);
  CHECK(gradient.isZero(0.0));
}

TEST_CASE("misuse of a permuted gate is named") {
  PermutedGate gate(TopKGate<double>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1)));
  const auto identity = Permutation::identity(n);
  CHECK_THROWS_WITH(
      gate.set_permutation(Permutation::identity(n + 1)),
      "comet::PermutedGate::set_permutations: permutation.size() is 7, expected num_experts = 6");
  CHECK_THROWS_WITH(gate.set_permutations({identity, identity}),
                    "comet::PermutedGate::set_permutations: number of permutations is 2, expected "
                    "1 or num_selectors = 1");
  CHECK_THROWS_WITH(gate.set_soft(rough_matrices(2), std::vector{identity}),
                    Catch::Contains("PermutedGate::set_soft: soft.size() is 2"));
  CHECK_THROWS_WITH(
      gate.set_soft(std::vector{Matrix<double>::Ones(n, n - 1).eval()}, std::vector{identity}),
      "comet::PermutedGate::set_soft: soft.cols() is 5, expected num_experts = 6");

  const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
  PermutedGate<TopKGate<double>>::Workspace workspace;
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), workspace);
  const std::vector<double> dweights(std::size_t(routing.num_entries()), 1.0);
  gate.set_soft(rough_matrices(1), std::vector{identity});
  Matrix<double> none;
  CHECK_THROWS_WITH(gate.backward(x, routing, dweights, none, workspace),
                    "comet::PermutedGate::backward: the permutation has changed between soft and "
                    "hard since forward()");
}

TEST_CASE("a permuted gate allocates nothing for sizes it has seen") {
  if (!test::can_count_allocations) return;
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  for (const bool soft : {false, true}) {
    CAPTURE(soft);
    PermutedGate gate(spread(comet_gate(0.1)));
    gate.set_permutation(Permutation::random(n, RandomKey(3)));
    if (soft) gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
    PermutedGate<CometGate<double>>::Workspace workspace;
    Routing<double> routing;
    Matrix<double> dx = Matrix<double>::Zero(d, 40);
    std::vector<double> dweights;
    const auto step = [&] {
      gate.forward(x, routing, RandomKey(1), workspace);
      dweights.assign(std::size_t(routing.num_entries()), 1.0);
      gate.backward(x, routing, dweights, dx, workspace);
      gate.route(x, routing, workspace);
    };
    step();
    step();
    CHECK(test::count_allocations(step) == 0);
  }
}
