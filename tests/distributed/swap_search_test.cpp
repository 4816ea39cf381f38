// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <comet/distributed/collectives.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/local_search/mixture_objective.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/swap_search.hpp>
#include <comet/moe_layer.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/ranks.hpp>

using namespace comet;
using comet::test::RankTask;

namespace {

using Task = RankTask<double>;
using Gate = Task::Permuted;
using Whole = MoeLayer<Gate, Task::Expert>;
using Spread = DistributedMoeLayer<ThreadCommunicator, Gate, Task::Expert>;

Task task_of(Index ranks) {
  return {.num_tasks = 2,
          .rows = std::vector<std::vector<Index>>{
              {37}, {20, 17}, {0, 25, 12}, {9, 0, 27, 1}}[std::size_t(ranks - 1)]};
}
/// What the mixtures of all rows are when the experts are in this order.
Matrix<double> mixtures(const Permutation& order) {
  const Task task = task_of(1);
  Whole layer(task.permuted_gates(), task.experts({0, task.num_experts}));
  for (auto& gate : layer.gates()) gate.set_permutation(order);
  Pass pass(layer);
  Matrix<double> y(Task::m, 2 * task.num_rows());
  layer.predict(task.batch().samples(), y, pass);
  return y;
}

/// What a search has found, and how.
struct Found {
  std::vector<ExpertId> order;
  std::vector<SwapMove> moves;

  friend bool operator==(const Found& a, const Found& b) {
    const auto same = [](const SwapMove& x, const SwapMove& y) {
      return x.kind == y.kind && x.first == y.first && x.second == y.second &&
             x.length == y.length && x.loss_after == Approx(y.loss_after).margin(1e-12);
    };
    return a.order == b.order &&
           std::equal(a.moves.begin(), a.moves.end(), b.moves.begin(), b.moves.end(), same);
  }
};

/// Searches from the identity for the order that made the targets, by the rows here.
/// \param experts  of the layer, or its bank
template <class Layer, class Experts>
Found search_here(Layer& layer, const Experts& experts, const Task& task, IndexRange rows,
                  const Matrix<double>& of_all, RankSum ranks) {
  const auto batch = task.batch().part(rows, 2);
  Matrix<double> target(Task::m, 2 * rows.size());
  for (Index t = 0; t < 2; ++t)
    target.middleCols(t * rows.size(), rows.size()) =
        of_all.middleCols(t * task.num_rows() + rows.first, rows.size());
  MixtureObjective objective(
      experts, batch.samples(),
      [&](const Matrix<double>& y) { return (y - target).squaredNorm() / double(task.num_rows()); },
      ranks);
  SwapSearch search({.steps = 1}, std::move(objective));
  search.search(layer.gates());
  const auto& order = layer.gates().back().permutations().front();
  return {{order.as_span().begin(), order.as_span().end()}, search.moves()};
}

/// What each rank finds. \param spread  whether it has a part of the experts
/// \param summed  whether the losses of all ranks count
std::vector<Found> search_on_ranks(Index ranks, bool spread, bool summed,
                                   const Matrix<double>& of_all) {
  const Task task = task_of(ranks);
  std::vector<Found> found(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](ThreadCommunicator& world) {
    const auto rank = std::size_t(world.rank());
    const IndexRange rows = task.rows_of(world.rank());
    if (spread) {
      Spread layer(world, task.permuted_gates(), task.experts(task.share(world.rank())));
      found[rank] = search_here(layer, layer.bank(), task, rows, of_all, make_rank_sum(world));
    } else {
      Whole layer(task.permuted_gates(), task.experts({0, task.num_experts}));
      found[rank] = search_here(layer, layer.experts(), task, rows, of_all,
                                summed ? make_rank_sum(world) : RankSum());
    }
  });
  return found;
}

}  // namespace

TEST_CASE("a swap search counts the rows of all ranks, and accepts the same moves on each") {
  const auto wanted = Permutation::random(5, RandomKey(4));
  const Matrix<double> of_all = mixtures(wanted);
  const Found whole = search_on_ranks(1, false, false, of_all).front();
  CHECK(whole.order == std::vector<ExpertId>(wanted.as_span().begin(), wanted.as_span().end()));
  CHECK(whole.moves.size() > 1);
  for (const Index ranks : {1, 2, 3, 4})
    for (const bool spread : {false, true}) {
      CAPTURE(ranks, spread);
      const auto found = search_on_ranks(ranks, spread, true, of_all);
      for (const Found& each : found) {
        CHECK(each == whole);
        for (std::size_t i = 0; i < each.moves.size(); ++i)  // to the bit
          CHECK(each.moves[i].loss_after == found.front().moves[i].loss_after);
      }
      if (ranks < 3 || spread) continue;
      // A rank without rows, left to itself, finds nothing.
      const auto alone = search_on_ranks(ranks, false, false, of_all);
      CHECK(alone[ranks == 3 ? 0 : 1].moves.empty());
    }
}

TEST_CASE("all experts are evaluated on the samples here, wherever they live") {
  const Task task = task_of(3);
  const Matrix<double> x = task.batch().x;
  std::vector<Matrix<double>> found(3), expected(3);
  run_ranks(3, [&](ThreadCommunicator& world) {
    const auto rank = std::size_t(world.rank());
    const Spread layer(world, task.permuted_gates(), task.experts(task.share(world.rank())));
    const IndexRange rows = task.rows_of(world.rank());
    const Matrix<double> here = x.middleCols(rows.first, rows.size());
    layer.bank().evaluate_all(here, found[rank]);
    expected[rank].resize(Task::m, 5 * rows.size());
    const auto experts = task.experts({0, 5});
    for (Index e = 0; e < 5; ++e) {
      Matrix<double> cache(experts[std::size_t(e)].cache_dim(), rows.size());
      experts[std::size_t(e)].predict(here, expected[rank].middleCols(e * rows.size(), rows.size()),
                                      cache);
    }
  });
  for (std::size_t r = 0; r < 3; ++r) {
    REQUIRE(found[r].cols() == expected[r].cols());
    CHECK(test::relative_error(found[r], expected[r]) <= 1e-14);
  }
}
