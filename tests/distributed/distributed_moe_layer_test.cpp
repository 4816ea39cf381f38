// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/distributed/self_communicator.hpp>
#include <comet/experts/dense.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/fixed_gate.hpp>
#include <support/golden.hpp>
#include <support/ranks.hpp>

using namespace comet;
using comet::test::RankTask;
using comet::test::StepResult;

namespace {

template <class S>
constexpr double tolerance = std::is_same_v<S, float> ? 1e-6 : 1e-12;

/// Rows of ranks: even, uneven, a rank without any, more ranks than experts have neighbours.
const std::vector<std::vector<Index>> layouts = {{37}, {20, 17}, {0, 25, 12}, {9, 0, 27, 1}};

template <class S>
void check_routings(const RankTask<S>& task, const StepResult<S>& whole, const StepResult<S>& piece,
                    IndexRange rows) {
  for (std::size_t t = 0; t < whole.routings.size(); ++t) {
    const auto &all = whole.routings[t], &here = piece.routings[t];
    CHECK(here.num_samples() == rows.size());
    const Matrix<S> expected = all.dense(task.num_experts).middleCols(rows.first, rows.size());
    CHECK(test::same_bits(here.dense(task.num_experts), expected));
  }
}

/// Ranks against one process. \param exact  whether dx has the same bits: penalties on means over
/// the batch have sums of another order
template <class S>
void check_against_whole(const RankTask<S>& task, bool exact = true) {
  const StepResult<S> whole = test::whole_step(task);
  const auto pieces = test::spread_step(task);
  const Index tensors = Index(whole.experts.size()) / task.num_experts;
  for (Index rank = 0; rank < task.num_ranks(); ++rank) {
    CAPTURE(rank);
    const StepResult<S>& piece = pieces[std::size_t(rank)];
    const IndexRange rows = task.rows_of(rank);
    for (Index t = 0; t < task.num_tasks; ++t) {
      const Index here = t * rows.size(), there = t * task.num_rows() + rows.first;
      CHECK(test::same_bits(piece.y.middleCols(here, rows.size()),
                            whole.y.middleCols(there, rows.size())));
      CHECK(test::same_bits(piece.predicted.middleCols(here, rows.size()),
                            whole.predicted.middleCols(there, rows.size())));
    }
    check_routings(task, whole, piece, rows);
    const auto dx = whole.dx.middleCols(rows.first, rows.size());
    if (exact) CHECK(test::same_bits(piece.dx, dx));
    CHECK(test::relative_error(piece.dx, dx) <= tolerance<S>);
    const IndexRange share = task.share(rank);
    REQUIRE(Index(piece.experts.size()) == share.size() * tensors);
    for (std::size_t i = 0; i < piece.experts.size(); ++i)
      CHECK(
          test::same_bits(piece.experts[i], whole.experts[std::size_t(share.first * tensors) + i]));
    REQUIRE(piece.gates.size() == whole.gates.size());
    for (std::size_t i = 0; i < piece.gates.size(); ++i) {
      CHECK(test::relative_error(piece.gates[i], whole.gates[i]) <= 4 * tolerance<S>);
      CHECK(test::same_bits(piece.gates[i], pieces[0].gates[i]));
    }
    CHECK(std::abs(double(piece.regularization) - double(whole.regularization)) <= tolerance<S>);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a layer on ranks has the bits of one process", "", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const auto& rows : layouts)
    for (const std::string gate : {"comet", "dselect_k", "top_k", "hash", "softmax", "sampled"}) {
      CAPTURE(gate, rows.size());
      RankTask<S> task{.gate = gate,
                       .num_tasks = gate == "sampled" ? 1 : 2,
                       .dropout = 0.3,
                       .masked = gate == "top_k",
                       .rows = rows};
      if (gate == "comet" || gate == "dselect_k") task.gate_options.entropy = 0.1;
      if (gate == "top_k") task.gate_options.noise = true;
      check_against_whole(task);
    }
}

TEST_CASE("experts may be shared out in any way: ranks without any, experts without rows") {
  RankTask<double> task{.num_tasks = 3, .rows = {5, 21, 11}};
  task.shares = {{0, 0}, {0, 4}, {4, 5}};
  check_against_whole(task);
  task.gate = "hash";
  task.gate_options = {.num_ids = 4};  // one draw each: four experts at most
  task.ids = std::vector<std::int32_t>(37, 3);
  check_against_whole(task);
  task.rows = {0, 0, 0};
  task.ids.clear();
  check_against_whole(task);
}

TEST_CASE("penalties are those of the batch of all ranks") {
  for (const auto& rows : layouts) {
    CAPTURE(rows.size());
    RankTask<double> task{.rows = rows};
    task.gate_options = {.entropy = 0.2, .spread = 0.3};
    for (const std::string gate : {"comet", "dselect_k", "static_dselect_k", "softmax"}) {
      CAPTURE(gate);
      task.gate = gate;
      check_against_whole(task, false);
    }
    task.gate_options.reachability = 0.1;
    for (const std::string gate : {"dselect_k", "static_dselect_k"}) {
      CAPTURE(gate);
      task.gate = gate;
      task.masked = true;
      check_against_whole(task, false);
    }
    task.gate = "top_k";
    task.gate_options = {
        .entropy = 0.2, .spread = 0.3, .load_balance = 0.4, .importance = 0.5, .router_z = 0.6};
    check_against_whole(task, false);
    task.gate = "sampled";
    task.gate_options = {.entropy = 0.2, .spread = 0.3, .trimmed_lasso = 0.4};
    check_against_whole(task, false);
    task.gate = "remoe";
    task.gate_options = {.sparsity = 0.3};
    check_against_whole(task, false);
  }
}

TEMPLATE_TEST_CASE("ten steps of a training lead where those of one process lead", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const std::string gate : {"comet", "top_k"})
    for (const auto& rows : layouts) {
      CAPTURE(gate, rows.size());
      RankTask<S> task{.gate = gate, .num_tasks = 2, .dropout = 0.1, .rows = rows};
      task.gate_options.spread = 0.1;
      // Adam divides by the size of gradients: where they are nothing but rounding, by nothing.
      const AdamOptions options{.learning_rate = 0.01, .epsilon = 1e-3, .weight_decay = 0.01};
      const auto train = [&](auto& layer, auto rows_of, auto reduce) {
        Pass pass(layer);
        Adam adam(layer, options);
        for (Index step = 0; step < 10; ++step) {
          const auto batch = task.batch(step).part(rows_of(step), task.num_tasks);
          StepResult<S> result;
          test::run_step(layer, batch, task.key().fold(step), pass, result);
          reduce(pass.gradients(layer));
          adam.step(layer, pass);
        }
      };
      auto whole = task.whole();
      train(
          whole,
          [&](Index) {
            return IndexRange{0, task.num_rows()};
          },
          [](auto) {});
      std::vector<std::vector<std::string>> differing(std::size_t(task.num_ranks()));
      run_ranks(task.num_ranks(), [&](ThreadCommunicator& world) {
        typename RankTask<S>::Spread layer(world, task.gates(),
                                           task.experts(task.share(world.rank())));
        // Who has how many rows changes from step to step: the data of a rank may have ended.
        train(
            layer, [&](Index step) { return task.rows_of(world.rank(), step); },
            [&](auto gradients) { reduce_gradients(world, layer, gradients); });
        check_replicated(world, layer);
        for_each_parameter(layer, [&](const ParameterName& name, const auto& values) {
          if (test::relative_error(values, test::parameter(whole, name.str())) > tolerance<S>)
            differing[std::size_t(world.rank())].push_back(name.str());
        });
      });
      for (const auto& names : differing) CHECK(names == std::vector<std::string>());
    }
}

TEST_CASE("a layer alone on one rank is a MoeLayer") {
  const RankTask<double> task;
  SelfCommunicator alone;
  const auto whole = test::whole_step(task);
  DistributedMoeLayer layer(alone, task.gates(), task.experts({0, task.num_experts}));
  Pass pass(layer);
  CHECK_THROWS_WITH(pass.workspace.routing(),
                    "comet::DistributedMoeLayer::Workspace::routing: the pass holds no batch; call "
                    "forward() or predict() first");
  StepResult<double> result;
  test::run_step(layer, task.batch(), task.key().fold(2), pass, result);
  CHECK(test::same_bits(result.y, whole.y));
  CHECK(test::same_bits(result.dx, whole.dx));
  CHECK_THROWS_WITH(pass.workspace.routing(layer.num_tasks()),
                    StartsWith("comet::DistributedMoeLayer::Workspace::routing: task is"));
  CHECK(pass.workspace.first_sample() == 0);
  CHECK(pass.workspace.expert_plan().num_pairs() == pass.workspace.plan().num_pairs());
  CHECK_THROWS_WITH(layer.backward(task.batch().samples(), task.batch().dy, pass),
                    "comet::DistributedMoeLayer::backward: the pass holds no forward(), or a "
                    "backward() has used it; call forward() first");
}

TEST_CASE("the way back is by the samples of the forward(), to memory of its own") {
  const RankTask<double> task;
  SelfCommunicator alone;
  DistributedMoeLayer layer(
      alone, task.gates(),
      make_experts<DenseExpert<double>>(task.num_experts,
                                        {.input_dim = task.d, .output_dim = task.d}, task.key()));
  Pass pass(layer);
  const auto batch = task.batch();
  Matrix<double> z = batch.x, dy = batch.x;
  const auto samples = [&] { return batch.samples().with_features(z); };
  layer.forward(samples(), z, task.key(), pass);
  CHECK_THROWS_WITH(layer.backward(samples(), dy, pass),
                    "comet::DistributedMoeLayer::backward: x has changed since forward()");
  z = batch.x;
  CHECK_THROWS_WITH(
      layer.backward(samples(), dy, z, pass),
      "comet::DistributedMoeLayer::backward: dx overlaps x, expected memory of its own");
  CHECK_THROWS_WITH(
      layer.backward(samples(), dy, dy, pass),
      "comet::DistributedMoeLayer::backward: dx overlaps dy, expected memory of its own");
  const auto gate = layer.gates()[0];
  const auto wider = make_gate<double>("comet", {.input_dim = 6, .num_experts = 9}, RandomKey(8));
  layer.gates()[0] = wider;
  const std::string is = "gate.num_experts() is 9, expected the number of experts of all ranks = 5";
  CHECK_THROWS_WITH(layer.backward(samples(), dy, pass),
                    "comet::DistributedMoeLayer::backward: " + is);
  CHECK_THROWS_WITH(layer.predict(samples(), dy, pass),
                    "comet::DistributedMoeLayer::predict: " + is);
  layer.gates()[0] = gate;
  layer.forward(samples(), dy, task.key(), pass);
  CHECK_NOTHROW(layer.backward(samples(), dy, pass));
}

TEST_CASE("dx may be wanted on some ranks only") {
  RankTask<double> task{.rows = {20, 17}};
  const auto whole = test::whole_step(task);
  Matrix<double> dx = Matrix<double>::Zero(task.d, 17);
  run_ranks(2, [&](ThreadCommunicator& world) {
    DistributedMoeLayer layer(world, task.gates(), task.experts(task.share(world.rank())));
    Pass pass(layer);
    const auto batch = task.batch().part(task.rows_of(world.rank()), 1);
    Matrix<double> y(task.m, batch.x.cols());
    layer.forward(batch.samples(), y, task.key().fold(2), pass);
    if (world.rank() == 0) layer.backward(batch.samples(), batch.dy, pass);
    if (world.rank() == 1) layer.backward(batch.samples(), batch.dy, dx, pass);
  });
  CHECK(test::same_bits(dx, whole.dx.rightCols(17)));
}

TEST_CASE("parts that do not fit together over ranks are refused") {
  const RankTask<double> task;
  const auto refuse = [&](auto make) { run_ranks(2, make); };
  CHECK_THROWS_WITH(
      refuse([&](ThreadCommunicator& world) {
        auto gates = task.gates();
        if (world.rank() == 1)
          gates = {make_gate<double>("comet", {.input_dim = 6, .num_experts = 5}, RandomKey(8))};
        DistributedMoeLayer(world, gates, task.experts(task.share(0)));
      }),
      "comet::DistributedMoeLayer: gate.num_experts() is 5, expected the number of "
      "experts of all ranks = 10");
  CHECK_THROWS_WITH(
      refuse([&](ThreadCommunicator& world) {
        auto gates = task.gates();
        if (world.rank() == 1)
          gates = {make_gate<double>("comet", {.input_dim = 6, .num_experts = 5}, RandomKey(8))};
        DistributedMoeLayer(world, gates, task.experts(share_of(5, world)));
      }),
      "comet::DistributedMoeLayer: gates.0.split.weight of rank 1 is not that of rank "
      "0: parts that every rank has are made with the same options and the same key");
  CHECK_THROWS_WITH(
      refuse([&](ThreadCommunicator& world) {
        BalancedTopKGate<double> gate({.input_dim = 6, .num_experts = 5}, RandomKey(8));
        const std::vector<Index> load{5, 0, 0, 0, 9 * world.rank()};
        gate.end_of_step(load);
        DistributedMoeLayer(world, gate, task.experts(share_of(5, world)));
      }),
      "comet::DistributedMoeLayer: the gates: the state of rank 1 is not that of rank "
      "0");
  CHECK_THROWS_WITH(refuse([&](ThreadCommunicator& world) {
                      DistributedBank(
                          world,
                          make_experts<MlpExpert<double>>(
                              1, {.input_dim = 3 + world.rank(), .hidden_dim = 2, .output_dim = 1},
                              RandomKey(1)));
                    }),
                    "comet::DistributedBank: expert.input_dim() of rank 1 is 4, expected that of "
                    "the first expert = 3");
  CHECK_THROWS_WITH(
      refuse([&](ThreadCommunicator& world) {
        DistributedMoeLayer(
            world,
            make_gate<double>("expert_choice", {.input_dim = 6, .num_experts = 5}, RandomKey(8)),
            task.experts(share_of(5, world)));
      }),
      "comet::DistributedMoeLayer: the rows of the gate depend on their batch, of which a rank has "
      "a piece");
}

TEST_CASE("columns that an expert reads where samples stand do not travel") {
  SelfCommunicator world;
  const DistributedBank bank(
      world, make_experts<DenseExpert<double>>(2, {.input_dim = 3, .output_dim = 2}, RandomKey(0)));
  const Matrix<double> x = test::random_matrix<double>(3, 5, 1);
  DispatchPlan plan;
  plan.build(test::make_routing<double>(test::Load::full, 2, 5, RandomKey(1)), 2);
  Columns<double> columns, outputs;
  Pass pass(bank);
  gather(x, plan, columns);
  CHECK_THROWS_WITH(bank.predict(plan, columns, outputs, place_in_batch(world, 5), pass),
                    StartsWith("comet::ColumnTransport::send: columns are read from "));
  gather_for_travel(x, plan, columns);
  CHECK(columns.has_all());
  CHECK_NOTHROW(bank.predict(plan, columns, outputs, place_in_batch(world, 5), pass));
}

TEST_CASE("a rank whose batch is refused ends the others with its error") {
  const RankTask<double> task{.rows = {20, 17}};
  CHECK_THROWS_AS(run_ranks(2,
                            [&](ThreadCommunicator& world) {
                              DistributedMoeLayer layer(world, task.gates(),
                                                        task.experts(task.share(world.rank())));
                              Pass pass(layer);
                              auto batch = task.batch().part(task.rows_of(world.rank()), 1);
                              if (world.rank() == 1)
                                batch.x(2, 3) = std::numeric_limits<double>::quiet_NaN();
                              Matrix<double> y(task.m, batch.x.cols());
                              layer.forward(batch.samples(), y, RandomKey(1), pass);
                            }),
                  NotFinite);
}
