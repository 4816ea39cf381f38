// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/permutation.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/concepts.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/testing/gate_laws.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

static_assert(TrainableGate<PermutedGate<CometGate<double>>>);
static_assert(TrainableGate<PermutedGate<HashGate<float>>>, "a search can train P for any gate");
static_assert(RelabelledGate<PermutedGate<TopKGate<double>>>);
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
  for_each_parameter(gate, [&](const ParameterName&, auto& values) {
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
Matrix<double> weights_of(const Gate& gate, const Samples<double>& samples) {
  return test::routed(gate, samples).dense(gate.num_experts());
}

/// The gate with its input and its soft permutations as parameters, so that a gradient check covers
/// them.
template <class G>
struct SoftModel {
  using Scalar = double;

  PermutedGate<G> gate;
  Parameter<double> x;
  std::vector<Parameter<double>> soft;
  Matrix<double> upstream;

  SoftModel(const G& inner, Index count)
      : gate(inner), x(d, num_samples), upstream(random_matrix<double>(n, num_samples, 3)) {
    x = random_matrix<double>(d, num_samples, 2);
    for (const auto& matrix : rough_matrices(count)) soft.emplace_back(n, n) = matrix;
  }

  void hand_over() {
    gate.set_soft(std::vector<Matrix<double>>(soft.begin(), soft.end()),
                  std::vector<Permutation>(soft.size(), Permutation::identity(n)));
  }
  double loss() {
    hand_over();
    Pass pass(gate);
    Routing<double> routing;
    gate.forward(x, routing, RandomKey(5), pass);
    return routing.dense(n).cwiseProduct(upstream).sum() + gate.regularization(pass);
  }
  void backward(GradientView<double> gradients) {
    hand_over();
    Pass pass(gate, gradients.next(gate));
    test::add_gradients(gate, x, upstream, gradients[0], pass);
    for (std::size_t j = 0; j < soft.size(); ++j)
      gate.add_soft_gradient(Index(j), gradients[Index(j) + 1], pass);
  }
  template <class F>
  void visit(F&& f) const {
    gate.visit(f);
    f("x", x);
    for (const auto& p : soft) f("soft", p);
  }
};

template <class G>
void check_soft_gradients(const G& inner, Index count) {
  CAPTURE(count);
  SoftModel<G> model(inner, count);
  const auto result = testing::check_gradients(
      model, [&] { return model.loss(); },
      [&](GradientView<double> gradients) { model.backward(gradients); });
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
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  CHECK(test::same_bits(routing.dense(n), permuted));
  test::check_rows(routing, n, x.cols(), gate.max_active());
}

TEST_CASE("permutations per selector act on each selector's weights") {
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  const std::vector<Permutation> p = {Permutation::random(n, RandomKey(3)),
                                      Permutation::random(n, RandomKey(4))};
  const auto check = [&](const auto& inner) {
    using G = std::decay_t<decltype(inner)>;
    Pass<G> pass(inner);
    Routing<double> routing;
    inner.route_slots(x, routing, pass);
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
      Pass fresh(gate);
      Routing<double> r;
      gate.forward(model.x, r, RandomKey(5), fresh);
      return r.dense(n).cwiseProduct(upstream).sum() + gate.regularization(fresh);
    };
    const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
      Pass fresh(gate, model.of_part(gradients));
      test::add_gradients(gate, model.x, upstream, model.of_input(gradients), fresh);
    });
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
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  const Matrix<double> soft = routing.dense(n);
  CHECK(soft.colwise().sum().isApprox(routed.colwise().sum(), 1e-14));
  CHECK((soft.array() > 0).any());
  CHECK(soft.colwise().sum().minCoeff() < 0.9);
  CHECK(test::same_bits(weights_of(gate, x), routed));

  // A permutation in soft form is the permutation.
  gate.set_soft(std::vector{hard.matrix()}, std::vector{hard});
  gate.forward(x, routing, RandomKey(0), pass);
  CHECK(routing.dense(n).isApprox(routed, 1e-14));
  gate.set_permutation(hard);
  CHECK_FALSE(gate.is_soft());
}

TEST_CASE(
    "what a soft permutation hardly moves is 0: derivatives by it would be denormal numbers") {
  const auto hard = Permutation::random(n, RandomKey(9));
  PermutedGate gate(TopKGate<float>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1)));
  const Matrix<float> x = random_matrix<float>(d, 40, 2);
  for (const double little : {1e-30, 1e-7}) {
    gate.set_soft(std::vector{Matrix<double>(hard.matrix().cwiseMax(little))}, std::vector{hard});
    Pass pass(gate);
    Routing<float> soft, routed;
    gate.forward(x, soft, RandomKey(0), pass);
    CHECK(soft.num_entries() == n * x.cols());  // all experts tell the search what they are worth
    gate.route(x, routed, pass);
    const Matrix<float> weights = soft.dense(n), expected = routed.dense(n);
    CHECK((expected.array() == 0).any());
    if (little < 1e-20) {
      CHECK(weights == expected);
    } else {
      CHECK((weights.array() > 0).all());
    }
  }
}

TEMPLATE_TEST_CASE("a permuted gate obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const auto check = [](const auto& inner, std::vector<Permutation> permutations, bool sums_to_one,
                        Index num_ids = 0) {
    PermutedGate gate(inner);
    using Wrapped = decltype(gate);
    const bool shared = permutations.size() == 1;
    gate.set_permutations(std::move(permutations));
    testing::GateLawOptions<Wrapped> options{.num_ids = num_ids, .sums_to_one = sums_to_one};
    if (shared)
      options.relabel = [](Wrapped& g, const Permutation& p) {
        g.set_permutation(compose(g.permutations().front(), p));
      };
    test::check_laws(gate, options);
  };
  const auto p = Permutation::random(n, RandomKey(3));
  const std::vector<Permutation> two = {p, Permutation::random(n, RandomKey(4))};
  const CometGate<S> tree({.input_dim = d, .num_experts = n, .k = k, .entropy = 0.1}, RandomKey(1));
  check(tree, {p}, true);
  check(tree, two, true);
  const DSelectKGate<S> code({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1));
  check(code, {p}, false);
  check(code, two, false);
  check(TopKGate<S>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(1)), {p}, true);
  check(HashGate<S>({.num_experts = n, .num_ids = 30}, RandomKey(1)), {p}, true, 30);
}

TEST_CASE("a soft gate keeps the training protocol: gradients add up, and threads do not matter") {
  const CometGate<double> inner({.input_dim = 64, .num_experts = n, .k = k, .entropy = 0.2},
                                RandomKey(1));
  const Matrix<double> x = random_matrix<double>(64, 512, 2);
  const Matrix<double> upstream = random_matrix<double>(n, 512, 3);
  PermutedGate gate(inner);
  gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
  std::vector<double> expected;
  Matrix<double> expected_dx, expected_soft;
  for (const Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    Pass pass(gate, &pool);
    Matrix<double> dx = Matrix<double>::Zero(64, 512), soft = Matrix<double>::Zero(n, n);
    test::add_gradients(gate, x, upstream, dx, pass);
    gate.add_soft_gradient(0, soft, pass);
    const auto once = test::gradients_of(gate, pass);
    if (threads == 1) {
      expected = once;
      expected_dx = dx;
      expected_soft = soft;
    }
    CHECK(test::same_bits(once, expected));
    CHECK(test::same_bits(dx, expected_dx));
    CHECK(test::same_bits(soft, expected_soft));
    test::add_gradients(gate, x, upstream, dx, pass);
    Matrix<double> twice = Matrix<double>::Zero(n, n);
    gate.add_soft_gradient(0, twice, pass);
    CHECK(twice.isApprox(2 * soft, 1e-14));
    CHECK(dx.isApprox(2 * expected_dx, 1e-12));
  }
}

TEST_CASE("a permuted gate gives the same bits for any number of threads") {
  PermutedGate gate(
      CometGate<float>({.input_dim = 64, .num_experts = 16, .k = 2, .entropy = 0.2}, RandomKey(1)));
  gate.set_permutation(Permutation::random(16, RandomKey(3)));
  test::check_laws(gate, {.num_threaded_samples = 512, .differences = false});
}

TEST_CASE("a masked sample has no row in a soft mixture, and no part in its gradients") {
  const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
  std::vector<std::uint8_t> mask(num_samples, 1);
  mask[2] = mask[5] = 0;
  Matrix<double> live_x(d, num_samples - 2), masked_x = x;
  masked_x.col(2).setConstant(std::nan(""));
  for (Index b = 0, i = 0; b < num_samples; ++b)
    if (mask[std::size_t(b)] != 0) live_x.col(i++) = x.col(b);
  PermutedGate gate(spread(comet_gate()));
  for (const bool soft : {true, false}) {
    if (soft) gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
    if (!soft) gate.set_permutation(Permutation::random(n, RandomKey(3)));
    Pass pass(gate), live_pass(gate);
    Routing<double> routing, live_routing;
    gate.forward(Samples{masked_x, {}, mask}, routing, RandomKey(1), pass);
    gate.forward(live_x, live_routing, RandomKey(1), live_pass);
    CHECK(routing.num_samples() == num_samples);
    CHECK(routing.experts(2).empty());
    CHECK(routing.experts(5).empty());
    CHECK(std::ranges::equal(routing.experts(), live_routing.experts()));
    CHECK(std::ranges::equal(routing.weights(), live_routing.weights()));
    const std::vector<double> dweights(std::size_t(routing.num_entries()), 0.5);
    Matrix<double> dx = Matrix<double>::Zero(d, num_samples);
    gate.backward(Samples{masked_x, {}, mask}, routing, dweights, dx, pass);
    gate.backward(live_x, live_routing, dweights, no_gradient, live_pass);
    CHECK(dx.col(2).isZero(0));
    const auto gradients = test::gradients_of(gate, pass);
    const auto live = test::gradients_of(gate, live_pass);
    for (std::size_t i = 0; i < live.size(); ++i) CHECK(gradients[i] == Approx(live[i]));
    if (!soft) continue;
    Matrix<double> by_p = Matrix<double>::Zero(n, n), live_by_p = by_p;
    gate.add_soft_gradient(0, by_p, pass);
    gate.add_soft_gradient(0, live_by_p, live_pass);
    CHECK(by_p.isApprox(live_by_p, 1e-14));
  }
}

TEST_CASE("the gradient of P belongs to a pass, and begins at zero with every P") {
  PermutedGate gate(comet_gate());
  gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
  const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
  Pass pass(gate), other(gate);
  const auto gradient = [&](const auto& p) {
    Matrix<double> result = Matrix<double>::Zero(n, n);
    gate.add_soft_gradient(0, result, p);
    return result;
  };
  // A failed backward() leaves it alone.
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  std::vector<double> dweights(std::size_t(routing.num_entries()));
  for (std::size_t i = 0; i < dweights.size(); ++i) dweights[i] = double(i % 5);
  const Matrix<double> fewer = x.leftCols(num_samples - 1);
  CHECK_THROWS(gate.backward(fewer, routing, dweights, no_gradient, pass));
  CHECK(gradient(pass).isZero(0.0));
  gate.backward(x, routing, dweights, no_gradient, pass);
  CHECK_FALSE(gradient(pass).isZero(0.0));
  CHECK(gradient(other).isZero(0.0));
  gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
  CHECK(gradient(pass).isZero(0.0));
}

TEST_CASE("a permuted gate hands on what the gate inside can do") {
  const auto p = Permutation::random(n, RandomKey(3)), q = Permutation::random(n, RandomKey(4));
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  PermutedGate gate(spread(comet_gate()));
  gate.set_permutation(p);
  CHECK(capabilities(gate) == capabilities(gate.gate()));
  CHECK(gate_name(gate) == "comet");
  CHECK(gate.input_dim() == d);
  CHECK(gate.max_active() == gate.gate().max_active());
  anneal(gate, {.gamma = 0.5});
  CHECK(gate.gate().options().gamma == 0.5);
  CHECK(test::same_bits(weights_of(gate.freeze(), x), weights_of(gate, x)));
  // What is given comes behind what it has.
  PermutedGate behind(gate.gate());
  behind.set_permutation(compose(p, q));
  CHECK(test::same_bits(weights_of(gate.freeze(std::vector{q}), x), weights_of(behind, x)));
  static_assert(ExplainableGate<PermutedGate<CometGate<double>>>);
  static_assert(!AnnealableGate<PermutedGate<TopKGate<double>>>);
  static_assert(!SelectorGate<PermutedGate<TopKGate<double>>>);

  // Selectors: wrapped twice is relabelled twice.
  gate.set_permutations({p, q});
  PermutedGate<PermutedGate<CometGate<double>>> twice(gate);
  CHECK(twice.num_selectors() == k);
  twice.set_permutations({q, p});
  PermutedGate once(gate.gate());
  once.set_permutations({compose(p, q), compose(q, p)});
  CHECK(test::same_bits(weights_of(twice, x), weights_of(once, x)));
  CHECK(test::same_bits(weights_of(twice.freeze(), x), weights_of(once.freeze(), x)));
  test::WithInput model(twice, x.leftCols(num_samples));
  const Matrix<double> upstream = random_matrix<double>(n, num_samples, 8);
  const auto result = testing::check_gradients(
      model,
      [&] {
        Pass pass(twice);
        Routing<double> routing;
        twice.forward(model.x, routing, RandomKey(5), pass);
        return routing.dense(n).cwiseProduct(upstream).sum();
      },
      [&](GradientView<double> gradients) {
        Pass pass(twice, model.of_part(gradients));
        test::add_gradients(twice, model.x, upstream, model.of_input(gradients), pass);
      });
  CHECK(result.largest_error <= 1e-6);

  gate.set_soft(rough_matrices(1), std::vector{p});
  CHECK_THROWS_WITH(gate.freeze(), "comet::freeze: the permutation is soft; end the search first");
  Pass pass(gate);
  Routing<double> routing;
  CHECK_THROWS_WITH(gate.forward_slots(x, routing, RandomKey(0), pass),
                    "comet::PermutedGate::forward_slots: the permutation is soft; end the search "
                    "first");
}

namespace {

/// A gate that is told the load, and has a state.
struct Balanced {
  using Scalar = double;
  struct Workspace {};
  std::vector<Index> load = {};
  std::int64_t steps = 0;

  [[nodiscard]] Index num_experts() const { return 4; }
  [[nodiscard]] Index max_active() const { return 1; }
  void route(const Samples<double>& samples, Routing<double>& routing,
             Pass<Balanced>& /*pass*/) const {
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      routing.push(ExpertId(b % 4), 1.0);
      routing.end_sample();
    }
  }
  void end_of_step(std::span<const Index> counts) {
    load.assign(counts.begin(), counts.end());
    ++steps;
  }
  void visit_state(auto&& f) { f("steps", std::span<std::int64_t>(&steps, 1)); }
  void visit_state(auto&& f) const { f("steps", std::span<const std::int64_t>(&steps, 1)); }
  void restored() const {
    if (steps < 0) throw std::invalid_argument("steps is negative");
  }
};

}  // namespace

TEST_CASE("the load is told to the slots, and the state of the gate is kept with the permutation") {
  PermutedGate gate(Balanced{});
  static_assert(LoadedGate<decltype(gate)> && Stateful<decltype(gate)>);
  gate.set_permutation(Permutation({2, 0, 3, 1}));
  const std::vector<Index> load = {10, 11, 12, 13};
  end_of_step(gate, load);
  CHECK(gate.gate().load == std::vector<Index>{12, 10, 13, 11});
  CHECK_THROWS_WITH(gate.end_of_step(std::vector<Index>{1}),
                    "comet::PermutedGate::end_of_step: load.size() is 1, expected num_experts = 4");

  PermutedGate other(Balanced{});
  std::vector<std::vector<std::int64_t>> state;
  std::as_const(gate).visit_state(
      [&](const char*, auto values) { state.emplace_back(values.begin(), values.end()); });
  CHECK(state == std::vector<std::vector<std::int64_t>>{{1}, {2, 0, 3, 1}});
  const auto give = [&] {
    std::size_t i = 0;
    other.visit_state([&](const char*, auto values) {
      for (std::size_t j = 0; j < values.size(); ++j)
        values[j] = typename decltype(values)::value_type(state[i][j]);
      ++i;
    });
    other.restored();
  };
  give();
  CHECK(other.gate().steps == 1);
  CHECK(other.permutations() == gate.permutations());
  state[1] = {2, 2, 3, 1};
  CHECK_THROWS_WITH(give(),
                    ContainsSubstring("the expert of slot 1 is 2, expected each expert once"));
  state[0] = {-1};
  CHECK_THROWS_WITH(give(), "steps is negative");
}

TEST_CASE("one permutation and one per selector come back as what they were") {
  PermutedGate gate(comet_gate());
  const auto p = Permutation::random(n, RandomKey(3));
  for (const std::vector<Permutation>& list :
       {std::vector{p}, std::vector{p, p}, std::vector{p, Permutation::identity(n)}}) {
    gate.set_permutations(list);
    PermutedGate other(comet_gate());
    std::vector<ExpertId> numbers;
    gate.visit_state([&](const char* name, std::span<ExpertId> values) {
      CHECK(std::string(name) == "permutations");
      numbers.assign(values.begin(), values.end());
    });
    CHECK(Index(numbers.size()) == n * k);
    other.set_soft(rough_matrices(1), std::vector{p});
    other.visit_state([&](const char*, std::span<ExpertId> values) {
      std::copy(numbers.begin(), numbers.end(), values.begin());
    });
    other.restored();
    CHECK_FALSE(other.is_soft());
    CHECK(other.permutations() == list);
  }
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
                    ContainsSubstring("PermutedGate::set_soft: soft.size() is 2"));
  CHECK_THROWS_WITH(
      gate.set_soft(std::vector{Matrix<double>::Ones(n, n - 1).eval()}, std::vector{identity}),
      "comet::PermutedGate::set_soft: soft.cols() is 5, expected num_experts = 6");
  Pass pass(gate);
  Matrix<double> gradient = Matrix<double>::Zero(n, n);
  CHECK_THROWS_WITH(gate.add_soft_gradient(0, gradient, pass),
                    "comet::PermutedGate::add_soft_gradient: the permutation is not soft");

  const Matrix<double> x = random_matrix<double>(d, num_samples, 2);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  const std::vector<double> dweights(std::size_t(routing.num_entries()), 1.0);
  gate.set_soft(rough_matrices(1), std::vector{identity});
  CHECK_THROWS_WITH(gate.backward(x, routing, dweights, no_gradient, pass),
                    "comet::PermutedGate::backward: the permutation has changed since forward()");
  CHECK_THROWS_WITH(gate.add_soft_gradient(1, gradient, pass),
                    "comet::PermutedGate::add_soft_gradient: j is 1, expected at least 0 and "
                    "below the number of permutations = 1");
}

TEST_CASE("a permuted gate allocates nothing for sizes it has seen") {
  if (!test::can_count_allocations) return;
  const Matrix<double> x = random_matrix<double>(d, 40, 2);
  for (const bool soft : {false, true}) {
    CAPTURE(soft);
    PermutedGate gate(spread(comet_gate(0.1)));
    gate.set_permutation(Permutation::random(n, RandomKey(3)));
    if (soft) gate.set_soft(rough_matrices(1), std::vector{Permutation::identity(n)});
    Pass pass(gate);
    Routing<double> routing;
    Matrix<double> dx = Matrix<double>::Zero(d, 40);
    std::vector<double> dweights;
    const auto step = [&] {
      gate.forward(x, routing, RandomKey(1), pass);
      dweights.assign(std::size_t(routing.num_entries()), 1.0);
      gate.backward(x, routing, dweights, dx, pass);
      gate.route(x, routing, pass);
    };
    step();
    step();
    CHECK(test::count_allocations(step) == 0);
  }
}
