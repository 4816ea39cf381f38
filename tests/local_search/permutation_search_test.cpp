// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/sinkhorn.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gradient_check.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

constexpr Index d = 3;
constexpr Index m = 2;
constexpr Index n = 5;
constexpr Index num_samples = 9;
constexpr Index tasks = 2;

using SearchedGate = PermutedGate<CometGate<double>>;
using Layer = MoeLayer<SearchedGate, DenseExpert<double>>;

Layer make_layer() {
  std::vector<SearchedGate> gates;
  for (std::uint64_t t = 0; t < tasks; ++t)
    gates.emplace_back(
        CometGate<double>({.input_dim = d, .num_experts = n, .k = 2, .gamma = 2.0, .entropy = 0.1},
                          RandomKey(10 + t)));
  return Layer(
      std::move(gates),
      make_experts<DenseExpert<double>>(
          n, {.input_dim = d, .output_dim = m, .activation = Activation::identity}, RandomKey(20)));
}

/// A layer and its search: U is one more parameter of the model.
struct Model {
  using Scalar = double;

  explicit Model(PermutationSearchOptions options)
      : layer(make_layer()), search(options, layer.gates(), RandomKey(30)) {}

  template <class F>
  void visit(F&& f) const {
    f("layer", layer);
    f("search", search);
  }

  Layer layer;
  PermutationSearch<double> search;
  Pass<Layer> pass = {};
  Gradients<double> gradients = Gradients<double>(*this);
  Matrix<double> x = random_matrix<double>(d, num_samples, 1);
  Matrix<double> upstream = random_matrix<double>(m, tasks* num_samples, 2);
  Matrix<double> y = Matrix<double>(m, tasks* num_samples);

  double loss() {
    search.prepare(layer.gates());
    layer.forward(x, y, RandomKey(3), pass);
    return y.cwiseProduct(upstream).sum() + layer.regularization(pass) + search.regularization();
  }
  void backward(GradientView<double> view) {
    loss();
    pass.borrow(view.next(layer));
    layer.backward(x, upstream, no_gradient, pass);
    search.backward(layer.gates(), pass.workspace.gates(), view);
  }
  void train_step(Adam<double>& adam) {
    step_with_local_search(
        search, layer.gates(),
        [&] {
          GradientView<double> rest = gradients.view();
          pass.borrow(rest.next(layer));
          layer.forward(x, y, RandomKey(3), pass);
          layer.backward(x, upstream, no_gradient, pass);
          search.backward(layer.gates(), pass.workspace.gates(), rest);
        },
        [&] { adam.step(*this, gradients); });
  }
};

/// Moderate temperatures: at low ones a finite difference sees steps, not slopes.
constexpr Annealing moderate = {.first_temperature = 0.1,
                                .last_temperature = 0.02,
                                .first_iterations = 4,
                                .last_iterations = 9};

}  // namespace

TEST_CASE("the gradient by U agrees with finite differences", "[gradient]") {
  for (const bool per_task : {false, true})
    for (const bool per_selector : {false, true}) {
      CAPTURE(per_task, per_selector);
      Model model({.steps = 10,
                   .annealing = moderate,
                   .entropy = 0.05,
                   .noise = 0.3,
                   .per_task = per_task,
                   .per_selector = per_selector});
      std::set<std::string> names;
      Index count = 0;
      for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
        if (name.str().starts_with("search.")) {
          CHECK(values.rows() == n);
          CHECK(values.cols() == n);
          CHECK(values.cwiseAbs().maxCoeff() <= 0.05);
          names.insert(name.str());
          ++count;
        }
      });
      CHECK(count == (per_task ? tasks : 1) * (per_selector ? 2 : 1));
      CHECK(Index(names.size()) == count);
      const auto result = testing::check_gradients(
          model, [&] { return model.loss(); },
          [&](GradientView<double> gradients) { model.backward(gradients); });
      INFO(result.where << ": " << result.analytic << " against " << result.numeric);
      CHECK(result.largest_error <= 2e-8);
      model.backward(model.gradients);
      CHECK(test::gradient(model, model.gradients, *names.begin()).cwiseAbs().maxCoeff() > 1e-3);
    }
}

TEST_CASE("step t uses the schedule's temperature and iterations") {
  const Annealing annealing = Annealing::published();
  Model model({.steps = 6, .annealing = annealing});
  Adam adam(model, {.learning_rate = 0.01});
  for (Index t = 1; t < 6; ++t) {
    const Matrix<double> u = test::parameter(model, "search.permutations.0.logits");
    model.search.prepare(model.layer.gates());
    Sinkhorn sinkhorn;
    const Matrix<double> expected = sinkhorn.forward(
        u, {.temperature = annealing.temperature(t, 6), .iterations = annealing.iterations(t, 6)});
    CHECK(test::same_bits(model.search.soft()[0], expected));
    model.train_step(adam);
    CHECK(model.search.step() == t);
  }
  CHECK(model.search.finished());
}

TEST_CASE("the permutation is the assignment of the soft one, during the search and after it") {
  Model model({.steps = 8, .annealing = Annealing::published()});
  Adam adam(model, {.learning_rate = 0.05});
  for (const auto& gate : model.layer.gates())
    CHECK(gate.permutations()[0] == Permutation::identity(n));
  CHECK(model.search.permutations()[0] == Permutation::identity(n));

  Pass pass(model.layer), hard_pass(model.layer);
  Matrix<double> y(m, tasks * num_samples), expected(m, tasks * num_samples);
  Permutation last;
  while (!model.search.finished()) {
    model.train_step(adam);
    last = model.search.permutations()[0];
    // Evaluation in mid-search is that of the hard permutation, without noise or softness.
    AssignmentSolver solver;
    const auto& assignment = solver.solve(model.search.soft()[0], Goal::maximize).row_to_column;
    CHECK(last == Permutation({assignment.begin(), assignment.end()}));
    Layer hard = model.layer;
    for (auto& gate : hard.gates()) gate.set_permutation(last);
    model.layer.predict(model.x, y, pass);
    hard.predict(model.x, expected, hard_pass);
    CHECK(test::same_bits(y, expected));
  }
  CHECK(last != Permutation::identity(n));
  for (int step = 0; step < 3; ++step) {
    model.train_step(adam);
    for (const auto& gate : model.layer.gates()) {
      CHECK(gate.permutations() == std::vector{last});
      CHECK_FALSE(gate.is_soft());
    }
  }
  CHECK(model.search.regularization() == 0.0);
  Model strict({.steps = 7, .entropy = 1.0}), lenient({.steps = 7, .entropy = 0.5});
  strict.search.prepare(strict.layer.gates());
  lenient.search.prepare(lenient.layer.gates());
  CHECK(strict.search.regularization() == 2 * lenient.search.regularization());
  CHECK(strict.search.regularization() > 0);
  CHECK_THROWS_WITH(model.search.prepare(model.layer.gates()),
                    "comet::PermutationSearch::prepare: the search finished at step 7; its "
                    "permutations are fixed");
}

TEST_CASE("the model's own Adam trains U") {
  Model model({.steps = 20, .annealing = moderate, .noise = 0.1});
  Adam adam(model, {.learning_rate = 0.01});
  const Matrix<double> before = test::parameter(model, "search.permutations.0.logits");
  model.train_step(adam);
  const Matrix<double> change = test::parameter(model, "search.permutations.0.logits") - before;
  // The first step of Adam has the size of the learning rate in every element.
  CHECK((change.cwiseAbs().array() - 0.01).abs().maxCoeff() < 1e-4);
}

namespace {

/// Hands the state of one part to another of its kind.
void copy_state(const auto& from, auto& to) {
  std::vector<std::vector<std::byte>> pieces;
  from.visit_state([&](const char*, auto values) {
    const auto bytes = std::as_bytes(values);
    pieces.emplace_back(bytes.begin(), bytes.end());
  });
  std::size_t i = 0;
  to.visit_state([&](const char*, auto values) {
    const auto bytes = std::as_writable_bytes(values);
    REQUIRE(bytes.size() == pieces[i].size());
    std::copy(pieces[i].begin(), pieces[i].end(), bytes.begin());
    ++i;
  });
  to.restored();
}

}  // namespace

TEST_CASE("noise belongs to the step, and a restored search goes on to the same bits") {
  for (const bool finish_first : {false, true}) {
    CAPTURE(finish_first);
    const PermutationSearchOptions options{
        .steps = 8, .annealing = moderate, .noise = 0.5, .per_task = true};
    Model whole(options);
    Adam adam(whole, {.learning_rate = 0.02});
    for (int step = 0; step < (finish_first ? 9 : 4); ++step) whole.train_step(adam);

    // A checkpoint holds parameters, and the state of optimizer, search and gates.
    Model resumed(options);
    std::vector<Matrix<double>> values;
    for_each_parameter(whole, [&](const ParameterName&, const auto& v) { values.push_back(v); });
    std::size_t i = 0;
    for_each_parameter(resumed, [&](const ParameterName&, auto& v) { v = values[i++]; });
    Adam resumed_adam(resumed, {.learning_rate = 0.02});
    copy_state(adam, resumed_adam);
    copy_state(whole.search, resumed.search);
    for (std::size_t t = 0; t < tasks; ++t)
      copy_state(whole.layer.gates()[t], resumed.layer.gates()[t]);
    CHECK(resumed.search.finished() == finish_first);
    CHECK(whole.search.permutations() == resumed.search.permutations());
    for (int step = 0; step < 6; ++step) {
      whole.train_step(adam);
      resumed.train_step(resumed_adam);
    }
    CHECK(test::same_bits(test::values_of(whole), test::values_of(resumed)));
    CHECK(whole.search.permutations() == resumed.search.permutations());
    for (std::size_t t = 0; t < tasks; ++t)
      CHECK(whole.layer.gates()[t].permutations() == resumed.layer.gates()[t].permutations());
  }
}

TEST_CASE("noise changes P from step to step; without it P changes only by U") {
  for (const double noise : {0.0, 1.0}) {
    Model model({.steps = 10, .annealing = moderate, .noise = noise});
    // Constant temperature, and no optimizer: U stays.
    Annealing flat = moderate;
    flat.last_temperature = flat.first_temperature;
    flat.last_iterations = flat.first_iterations;
    model.search = PermutationSearch<double>({.steps = 10, .annealing = flat, .noise = noise},
                                             model.layer.gates(), RandomKey(30));
    model.search.prepare(model.layer.gates());
    const Matrix<double> first = model.search.soft()[0];
    model.search.prepare(model.layer.gates());
    CHECK(test::same_bits(model.search.soft()[0], first));
    Gradients gradients(model.search);
    const std::vector<Pass<SearchedGate>> passes(tasks);  // nothing has come back
    model.search.backward(model.layer.gates(), passes, gradients);
    model.search.advance(model.layer.gates());
    model.search.prepare(model.layer.gates());
    CHECK(test::same_bits(model.search.soft()[0], first) == (noise == 0.0));
  }
}

TEST_CASE("a gate without parameters can be searched over") {
  using HashLayer = MoeLayer<PermutedGate<HashGate<double>>, DenseExpert<double>>;
  HashLayer layer(
      {PermutedGate(HashGate<double>({.num_experts = n, .num_ids = 30}, RandomKey(1)))},
      make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m}, RandomKey(0)));
  PermutationSearch search({.steps = 5, .annealing = moderate}, layer.gates(), RandomKey(2));
  const Matrix<double> x = random_matrix<double>(d, 4, 1);
  const std::vector<std::int32_t> ids = {3, 1, 29, 3};
  Matrix<double> y(m, 4);
  Pass pass(layer);
  Gradients gradients(search);
  search.prepare(layer.gates());
  layer.forward(Samples{x, ids}, y, RandomKey(0), pass);
  layer.backward(Samples{x, ids}, Matrix<double>::Ones(m, 4), no_gradient, pass);
  search.backward(layer.gates(), pass.workspace.gates(), gradients);
  CHECK(gradients[0].cwiseAbs().maxCoeff() > 0);
}

TEST_CASE("misuse of the search is named") {
  Layer layer = make_layer();
  const auto make = [&](PermutationSearchOptions options) {
    return PermutationSearch<double>(options, layer.gates(), RandomKey(1));
  };
  CHECK_THROWS_WITH(make({.steps = 1}),
                    "comet::PermutationSearch: steps is 1, expected at least 2");
  CHECK_THROWS_WITH(make({.steps = 5, .entropy = -1.0}),
                    ContainsSubstring("PermutationSearch: entropy is -1"));
  CHECK_THROWS_WITH(make({.steps = 5, .noise = std::nan("")}),
                    ContainsSubstring("PermutationSearch: noise is "));
  CHECK_THROWS_WITH(
      PermutationSearch<double>({.steps = 5}, std::vector<SearchedGate>(), RandomKey(1)),
      "comet::PermutationSearch: gates.size() is 0, expected at least 1");
  auto search = make({.steps = 5});
  Gradients gradients(search);
  std::vector<Pass<SearchedGate>> passes(tasks);
  CHECK_THROWS_WITH(search.backward(layer.gates(), passes, gradients),
                    "comet::PermutationSearch::backward: prepare() was not called for this step");
  CHECK_THROWS_WITH(search.advance(layer.gates()),
                    "comet::PermutationSearch::advance: prepare() was not called for this step");
  search.prepare(layer.gates());
  CHECK_THROWS_WITH(search.advance(layer.gates()),
                    "comet::PermutationSearch::advance: backward() was not called for this step");
  passes.pop_back();
  CHECK_THROWS_WITH(search.backward(layer.gates(), passes, gradients),
                    "comet::PermutationSearch::backward: passes.size() is 1, expected gates.size() "
                    "= 2");
  passes.resize(tasks);
  Gradients<double> wrong(layer);
  CHECK_THROWS_WITH(search.backward(layer.gates(), passes, wrong),
                    ContainsSubstring("PermutationSearch::backward: the gradients are of another"));
  std::vector<SearchedGate> one(layer.gates().begin(), layer.gates().begin() + 1);
  CHECK_THROWS_WITH(search.prepare(one),
                    ContainsSubstring("PermutationSearch::prepare: gates.size() is 1"));
  const auto give = [&](std::int64_t step, ExpertId expert) {
    search.visit_state([&](const char*, auto values) {
      values[0] = typename decltype(values)::value_type(values.size() == 1 ? step : expert);
    });
    search.restored();
  };
  CHECK_THROWS_WITH(give(6, 0),
                    "comet::PermutationSearch::restored: step is 6, expected at most steps = 5");
  CHECK_THROWS_WITH(give(-1, 0),
                    "comet::PermutationSearch::restored: step is -1, expected at least 0");
  CHECK_THROWS_WITH(give(2, 7), ContainsSubstring("the expert of slot 0 is 7, expected in 0..4"));
}

TEST_CASE("a permutation per selector of gates without selectors is refused in words") {
  const auto make = [](const auto& gate) {
    PermutationSearch({.steps = 5, .per_selector = true}, std::vector{PermutedGate(gate)},
                      RandomKey(1));
  };
  const TopKGate<double> top_k({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1));
  const char* message =
      "comet::PermutationSearch: per_selector is set, but a top_k gate has no selectors to be "
      "permuted one by one";
  CHECK_THROWS_WITH(make(top_k), message);
  CHECK_THROWS_WITH(make(AnyGate<double>(top_k)), message);
  const CometGate<double> tree({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1));
  CHECK_NOTHROW(make(tree));
  CHECK_NOTHROW(make(AnyGate<double>(tree)));
  const CometGate<double> more({.input_dim = d, .num_experts = n, .k = 3}, RandomKey(1));
  CHECK_THROWS_WITH(
      PermutationSearch({.steps = 5, .per_selector = true},
                        std::vector{PermutedGate(tree), PermutedGate(more)}, RandomKey(1)),
      "comet::PermutationSearch: gate.num_selectors() is 3, expected that of the "
      "first gate = 2");
}

TEST_CASE("a step of the search allocates nothing for sizes it has seen") {
  if (!test::can_count_allocations) return;
  for (const bool per_selector : {false, true}) {
    CAPTURE(per_selector);
    // Constant temperature and iterations: Sinkhorn's scratch grows with them.
    Model model({.steps = 100,
                 .annealing = {.first_temperature = 1e-3,
                               .last_temperature = 1e-3,
                               .first_iterations = 30,
                               .last_iterations = 30},
                 .per_selector = per_selector});
    Gradients gradients(model.search);
    const std::vector<Pass<SearchedGate>> passes(tasks);
    const auto step = [&] {
      model.search.prepare(model.layer.gates());
      model.search.backward(model.layer.gates(), passes, gradients);
      model.search.advance(model.layer.gates());
    };
    for (int i = 0; i < 50; ++i) step();
    const auto before = model.search.permutations();
    const long allocations = test::count_allocations(step);
    REQUIRE(model.search.permutations() == before);
    CHECK(allocations == 0);
  }
}
