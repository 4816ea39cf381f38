// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/mixture_objective.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/swap_search.hpp>
#include <comet/moe_layer.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// A user's own objective: the cost of an assignment, plus one between neighbours so that the order
/// matters. It knows no layer.
struct PlainObjective {
  Matrix<double> cost;
  double neighbours = 0;
  Index starts = 0;
  Index moves = 0;

  void start(const auto& /*gates*/) { ++starts; }
  void move_to(std::span<const ExpertId> /*permutation*/) { ++moves; }
  [[nodiscard]] double loss(std::span<const ExpertId> p) const {
    double sum = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      sum += cost(Index(i), p[i]);
      if (i > 0) sum += neighbours * std::abs(p[i] - p[i - 1]);
    }
    return sum;
  }
};

/// Only the order of neighbours counts: 0 1 2 3 4 5 is best, and 3 4 5 0 1 2 a local optimum of
/// swaps.
struct Order {
  void start(const auto& /*gates*/) {}
  void move_to(std::span<const ExpertId> /*permutation*/) {}
  double loss(std::span<const ExpertId> p) const {
    double sum = 0.25 * std::abs(p[0]);
    for (std::size_t i = 1; i < p.size(); ++i) sum += p[i] == p[i - 1] + 1 ? 0.0 : 1.0;
    return sum;
  }
};

/// One order is better than all others.
struct Wanted {
  std::vector<ExpertId> order;
  void start(const auto& /*gates*/) {}
  void move_to(std::span<const ExpertId> /*permutation*/) {}
  double loss(std::span<const ExpertId> p) const {
    return std::equal(p.begin(), p.end(), order.begin(), order.end()) ? 0.0 : 1.0;
  }
};

/// No loss to compare, at the start or after the first move of the first expert.
struct Broken {
  double wrong = 0;
  double at_start = 1;
  void start(const auto& /*gates*/) {}
  void move_to(std::span<const ExpertId> /*permutation*/) {}
  double loss(std::span<const ExpertId> p) const { return p[0] == 0 ? at_start : wrong; }
};

using PlainGate = PermutedGate<TopKGate<double>>;
using PlainSearch = SwapSearch<PlainObjective>;
static_assert(PermutationObjective<PlainObjective, std::vector<PlainGate>>);
static_assert(PermutationStrategy<PlainSearch, std::vector<PlainGate>>);

std::vector<PlainGate> plain_gates(Index n, std::size_t count = 1) {
  return std::vector<PlainGate>(
      count, PlainGate(TopKGate<double>({.input_dim = 2, .num_experts = n, .k = 1}, RandomKey(1))));
}

std::vector<ExpertId> as_vector(const Permutation& p) {
  return {p.as_span().begin(), p.as_span().end()};
}

/// All permutations one swap, or one move of a block of at most max_block slots, away.
std::vector<std::vector<ExpertId>> neighbourhood(const std::vector<ExpertId>& p, Index max_block) {
  std::vector<std::vector<ExpertId>> list;
  const auto n = Index(p.size());
  for (Index i = 0; i < n; ++i)
    for (Index j = i + 1; j < n; ++j) {
      auto q = p;
      std::swap(q[std::size_t(i)], q[std::size_t(j)]);
      list.push_back(q);
    }
  for (Index length = 1; length <= max_block; ++length)
    for (Index i = 0; i + length <= n; ++i)
      for (Index to = 0; to + length <= n; ++to) {
        auto q = p;
        const std::vector<ExpertId> block(p.begin() + i, p.begin() + i + length);
        q.erase(q.begin() + i, q.begin() + i + length);
        q.insert(q.begin() + to, block.begin(), block.end());
        list.push_back(q);
      }
  return list;
}

void check_log(const PlainSearch& search, const PlainObjective& objective, double first_loss,
               const std::vector<ExpertId>& end) {
  double loss = first_loss;
  for (const auto& move : search.moves()) {
    CHECK(move.loss_before == loss);
    CHECK(move.loss_after < move.loss_before);
    loss = move.loss_after;
  }
  CHECK(loss == objective.loss(end));
}

}  // namespace

TEST_CASE("a converged search has no better neighbour") {
  for (const Index n : {1, 2, 5})
    for (const Improvement improvement : {Improvement::first, Improvement::best})
      for (const double neighbours : {0.0, 0.4})
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
          CAPTURE(n, improvement == Improvement::best, neighbours, seed);
          const PlainObjective objective{random_matrix<double>(n, n, seed), neighbours};
          auto gates = plain_gates(n, 2);
          PlainSearch search({.steps = 1, .improvement = improvement, .max_block = 3}, objective);
          search.search(gates);
          CHECK(search.status() == SwapStatus::converged);
          const auto end = as_vector(gates[0].permutations()[0]);
          CHECK(gates[1].permutations() == gates[0].permutations());
          for (const auto& q : neighbourhood(end, std::min<Index>(3, n - 1)))
            CHECK(objective.loss(q) >= objective.loss(end));
          check_log(search, objective, objective.loss(as_vector(Permutation::identity(n))), end);
        }
}

TEST_CASE("blocks move where no swap helps") {
  const Index n = 6;
  const Permutation start({3, 4, 5, 0, 1, 2});
  for (const Index max_block : {0, 3}) {
    CAPTURE(max_block);
    auto gates = plain_gates(n);
    gates[0].set_permutation(start);
    SwapSearch search({.steps = 1, .max_block = max_block}, Order{});
    search.search(gates);
    if (max_block == 0) {
      CHECK(gates[0].permutations()[0] == start);
      CHECK(search.moves().empty());
    } else {
      CHECK(gates[0].permutations()[0] == Permutation::identity(n));
      REQUIRE_FALSE(search.moves().empty());
      CHECK(search.moves()[0].kind == SwapMove::Kind::block);
    }
  }
}

TEST_CASE("every move of a block is found where no other move helps, from and to both ends") {
  const Index n = 7;
  const auto identity = as_vector(Permutation::identity(n));
  for (const Index max_block : {1, 2, 3})
    for (const auto& wanted : neighbourhood(identity, max_block)) {
      CAPTURE(max_block, wanted);
      auto gates = plain_gates(n);
      SwapSearch search({.steps = 1, .max_block = max_block}, Wanted{wanted});
      search.search(gates);
      CHECK(as_vector(gates[0].permutations()[0]) == wanted);
      CHECK(search.moves().size() == (wanted == identity ? 0U : 1U));
    }
}

TEST_CASE("the first improvement is taken at once, the best after the whole neighbourhood") {
  const Index n = 7;
  const PlainObjective objective{random_matrix<double>(n, n, 3)};
  const auto identity = as_vector(Permutation::identity(n));
  double best = objective.loss(identity);
  std::vector<ExpertId> first;
  for (const auto& q : neighbourhood(identity, 0)) {
    best = std::min(best, objective.loss(q));
    if (first.empty() && objective.loss(q) < objective.loss(identity)) first = q;
  }
  auto gates = plain_gates(n);
  PlainSearch greedy({.steps = 1, .improvement = Improvement::first}, objective);
  greedy.search(gates);
  CHECK(greedy.moves().front().loss_after == objective.loss(first));
  gates = plain_gates(n);
  PlainSearch steepest({.steps = 1, .improvement = Improvement::best}, objective);
  steepest.search(gates);
  CHECK(steepest.moves().front().loss_after == best);
}

TEST_CASE("the budget bounds the losses evaluated, and the status says that it was spent") {
  const Index n = 8;
  const PlainObjective objective{random_matrix<double>(n, n, 4)};
  Index previous = -1;
  double previous_loss = 1e9;
  for (const Index budget : {1, 2, 10, 30, 10000}) {
    CAPTURE(budget);
    auto gates = plain_gates(n);
    PlainSearch search({.steps = 1, .budget = budget}, objective);
    CHECK(search.status() == SwapStatus::not_started);
    search.search(gates);
    CHECK(search.num_evaluations() <= budget);
    CHECK(search.num_evaluations() > previous);
    previous = search.num_evaluations();
    const bool spent = search.status() == SwapStatus::budget_spent;
    CHECK(spent == (budget < 10000));
    if (spent) CHECK(search.num_evaluations() == budget);
    const double loss = objective.loss(gates[0].permutations()[0].as_span());
    CHECK(loss <= previous_loss);
    previous_loss = loss;
  }
}

TEST_CASE("a move must beat the tolerance") {
  const PlainObjective objective{random_matrix<double>(6, 6, 5)};
  auto gates = plain_gates(6);
  PlainSearch patient({.steps = 1, .tolerance = 0.5}, objective);
  patient.search(gates);
  CHECK_FALSE(patient.moves().empty());
  for (const auto& move : patient.moves()) CHECK(move.loss_after < move.loss_before - 0.5);
  gates = plain_gates(6);
  PlainSearch never({.steps = 1, .tolerance = 1e6}, objective);
  never.search(gates);
  CHECK(never.moves().empty());
}

TEST_CASE("a loss that no other can be compared with ends the search by a name") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const double nan = std::nan("");
  auto gates = plain_gates(4);
  const auto before = gates[0].permutations();
  for (const Broken& broken : {Broken{nan}, Broken{1, nan}}) {
    SwapSearch search({.steps = 1}, broken);
    CHECK_THROWS_WITH(search.search(gates),
                      "comet::SwapSearch::search: the objective's loss is nan");
    CHECK_THROWS_AS(search.search(gates), NotFinite);
    CHECK(search.status() == SwapStatus::not_started);
    CHECK(search.moves().empty());
    CHECK(gates[0].permutations() == before);
  }
  SwapSearch lowest({.steps = 1}, Broken{-inf});
  CHECK_THROWS_WITH(lowest.search(gates),
                    "comet::SwapSearch::search: the objective's loss is -inf");
  // An infinite loss is a bad one.
  SwapSearch forbids({.steps = 1}, Broken{inf});
  forbids.search(gates);
  CHECK(forbids.status() == SwapStatus::converged);
  CHECK(forbids.moves().empty());
}

TEST_CASE("the search runs every interval and at its last step, then is over") {
  const Index n = 5;
  const PlainObjective objective{random_matrix<double>(n, n, 6)};
  auto gates = plain_gates(n);
  PlainSearch search({.steps = 7, .interval = 3}, objective);
  const std::vector<Pass<PlainGate>> passes(1);
  Index evaluations = 0;
  std::vector<Index> searched_at;
  while (!search.finished()) {
    search.prepare(gates);
    search.backward(gates, passes, GradientView<double>());
    search.advance(gates);
    if (search.num_evaluations() > evaluations) searched_at.push_back(search.step());
    evaluations = search.num_evaluations();
  }
  CHECK(searched_at == std::vector<Index>{3, 6, 7});
  for (const auto& move : search.moves()) CHECK(move.step == 3);  // nothing changed afterwards
  const std::string over = "the search finished at step 7; its permutation is fixed";
  CHECK_THROWS_WITH(search.prepare(gates), "comet::SwapSearch::prepare: " + over);
  CHECK_THROWS_WITH(search.advance(gates), "comet::SwapSearch::advance: " + over);
}

TEST_CASE("on a layer, accepted changes are those of the layer's own loss, and repeatable") {
  const Index d = 4, m = 3, n = 6, samples = 30;
  using Gate = PermutedGate<CometGate<double>>;
  using Layer = MoeLayer<Gate, DenseExpert<double>>;
  std::vector<Gate> gates;
  for (std::uint64_t t = 0; t < 2; ++t)
    gates.emplace_back(
        CometGate<double>({.input_dim = d, .num_experts = n, .gamma = 0.02}, RandomKey(t)));
  Layer layer(std::move(gates), make_experts<DenseExpert<double>>(
                                    n, {.input_dim = d, .output_dim = m}, RandomKey(9)));
  const Matrix<double> x = random_matrix<double>(d, samples, 11);
  const Matrix<double> target = random_matrix<double>(m, 2 * samples, 12);
  const auto loss = [&](const Matrix<double>& y) { return (y - target).squaredNorm(); };
  const auto predicted_loss = [&](const Layer& l) {
    Matrix<double> y(m, 2 * samples);
    Pass pass(l);
    l.predict(x, y, pass);
    return loss(y);
  };

  Layer copy = layer;
  SwapSearch search({.steps = 1}, MixtureObjective(layer.experts(), x, loss));
  const double before = predicted_loss(layer);
  search.search(layer.gates());
  REQUIRE(search.moves().size() >= 3);
  CHECK(search.moves().front().loss_before == Approx(before).epsilon(1e-12));
  CHECK(search.moves().back().loss_after == Approx(predicted_loss(layer)).epsilon(1e-12));

  // Every move of the log, applied by hand to a layer, changes its loss by what the log says.
  SwapSearch again({.steps = 1}, MixtureObjective(copy.experts(), x, loss));
  again.search(copy.gates());
  REQUIRE(again.moves().size() == search.moves().size());
  Layer replay = layer;
  for (auto& gate : replay.gates()) gate.set_permutation(Permutation::identity(n));
  for (std::size_t i = 0; i < search.moves().size(); ++i) {
    const auto& move = search.moves()[i];
    CHECK(again.moves()[i].loss_after == move.loss_after);
    CHECK(predicted_loss(replay) == Approx(move.loss_before).epsilon(1e-12));
    auto p = as_vector(replay.gates()[0].permutations()[0]);
    if (move.length == 1 && move.kind == SwapMove::Kind::swap) {
      std::swap(p[std::size_t(move.first)], p[std::size_t(move.second)]);
    } else {
      const std::vector<ExpertId> block(p.begin() + move.first,
                                        p.begin() + move.first + move.length);
      p.erase(p.begin() + move.first, p.begin() + move.first + move.length);
      p.insert(p.begin() + move.second, block.begin(), block.end());
    }
    for (auto& gate : replay.gates()) gate.set_permutation(Permutation(p));
    CHECK(predicted_loss(replay) == Approx(move.loss_after).epsilon(1e-12));
  }
}

TEST_CASE("a search over gates of different permutations has no place to start from") {
  using Gate = PermutedGate<TopKGate<double>>;
  std::vector<Gate> gates(
      2, Gate{TopKGate<double>({.input_dim = 3, .num_experts = 3, .k = 1}, RandomKey(0))});
  gates[1].set_permutation(Permutation(std::vector<ExpertId>{1, 0, 2}));
  PlainSearch search({.steps = 1}, PlainObjective{});
  CHECK_THROWS_WITH(search.search(gates),
                    "comet::SwapSearch::search: the gates have different permutations, expected "
                    "one for all of them");
  CHECK(gates[1].permutations()[0].as_span()[0] == 1);  // as it was
  gates.clear();
  CHECK_THROWS_WITH(search.search(gates),
                    "comet::SwapSearch::search: gates.size() is 0, expected at least 1");
}

TEST_CASE("misuse of the swap search is named") {
  const auto make = [](SwapSearchOptions options) {
    return PlainSearch(options, PlainObjective{});
  };
  CHECK_THROWS_WITH(make({}), "comet::SwapSearch: steps is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.steps = 1, .interval = 0}),
                    "comet::SwapSearch: interval is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.steps = 1, .budget = 0}),
                    "comet::SwapSearch: budget is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.steps = 1, .max_block = -1}),
                    "comet::SwapSearch: max_block is -1, expected at least 0");
  CHECK_THROWS_WITH(make({.steps = 1, .tolerance = -1.0}),
                    "comet::SwapSearch: tolerance is -1, expected a finite number >= 0");
}

TEST_CASE("a swap search that goes on from a checkpoint searches at the same steps") {
  const auto make = [] {
    return PlainSearch({.steps = 6, .interval = 4}, {.cost = random_matrix<double>(5, 5, 7)});
  };
  PlainSearch whole = make();
  std::vector<PlainGate> gates = plain_gates(5);
  std::vector<PlainGate> resumed_gates = gates;
  for (int step = 0; step < 3; ++step) whole.advance(gates);
  PlainSearch resumed = make();
  const auto give = [&](std::int64_t step) {
    resumed.visit_state([&](const char*, std::span<std::int64_t> values) { values[0] = step; });
    resumed.restored();
  };
  whole.visit_state([&](const char* name, auto values) {
    CHECK(std::string(name) == "step");
    give(values[0]);
  });
  for (int step = 3; step < 6; ++step) {
    whole.advance(gates);
    resumed.advance(resumed_gates);
    CHECK(resumed_gates[0].permutations() == gates[0].permutations());
  }
  CHECK(whole.finished());
  CHECK(resumed.finished());
  CHECK(gates[0].permutations()[0] != Permutation::identity(5));
  CHECK_THROWS_WITH(give(7), "comet::SwapSearch::restored: step is 7, expected at most steps = 6");
  CHECK_THROWS_WITH(give(-1), "comet::SwapSearch::restored: step is -1, expected at least 0");
}
