// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <comet/distributed/collectives.hpp>
#include <comet/distributed/counting_communicator.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/layers/dense.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/ranks.hpp>

using namespace comet;
using comet::test::RankTask;

namespace {

using Task = RankTask<double>;

/// f(rank, world, layer, pass, batch) on every rank, after a forward() of what the rank has.
template <class F>
void on_ranks(const Task& task, F f) {
  run_ranks(task.num_ranks(), [&](ThreadCommunicator& world) {
    Task::Spread layer(world, task.gates(), task.experts(task.share(world.rank())));
    Pass pass(layer);
    auto batch = task.batch().part(task.rows_of(world.rank()), task.num_tasks);
    Matrix<double> y(task.m, batch.dy.cols());
    layer.forward(batch.samples(), y, task.key().fold(2), pass);
    f(std::size_t(world.rank()), world, layer, pass, batch);
  });
}

double squared_norm(GradientView<double> gradients) {
  double sum = 0;
  for (Index i = 0; i < gradients.size(); ++i) sum += gradients[i].squaredNorm();
  return sum;
}

/// Norm of the gradients of all experts, each rank's loss being the mean over its rows times
/// `factor`(world, rows).
template <class Factor>
double norm_of_experts(const Task& task, Factor factor) {
  std::vector<double> squares(std::size_t(task.num_ranks()));
  on_ranks(task, [&](std::size_t rank, auto& world, auto& layer, auto& pass, auto& batch) {
    const Index rows = batch.x.cols();
    const double scale = factor(world, rows);
    batch.dy *= rows == 0 ? 0 : scale * double(task.num_rows()) / double(rows);
    layer.backward(batch.samples(), batch.dy, pass);
    const auto gradients = pass.gradients(layer);
    reduce_gradients(world, layer, gradients);
    squares[rank] = squared_norm(gradients.middle(0, layer.num_own_tensors()));
  });
  double sum = 0;
  for (const double each : squares) sum += each;
  return std::sqrt(sum);
}

/// A model that holds a spread layer among parts that every rank has.
struct Model {
  using Scalar = double;
  Dense<double> before;
  Task::Spread mixture;
  std::vector<Dense<double>> heads;

  template <class F>
  void visit(F&& f) const {
    f("before", before);
    f("mixture", mixture);
    f("heads", heads);
  }
};

/// Parts one behind the other.
struct Row {
  using Scalar = double;
  std::vector<Dense<double>> parts;

  template <class F>
  void visit(F&& f) const {
    f("parts", parts);
  }
};

}  // namespace

TEST_CASE("gradients of experts are those of one process, not as many times as there are ranks") {
  const Task whole{.rows = {36}};
  const double expected = norm_of_experts(whole, [](auto&, Index) { return 1.0; });
  for (const std::vector<Index>& rows :
       {std::vector<Index>{18, 18}, {12, 12, 12}, {9, 9, 9, 9}, {30, 0, 6}}) {
    const Task task{.rows = rows};
    const double norm =
        norm_of_experts(task, [](auto& world, Index here) { return share_of_rows(world, here); });
    CHECK(norm / expected == Approx(1).epsilon(1e-12));
    // A rank that takes its mean for that of all: what the line above would then say.
    if (rows.front() != 36 / task.num_ranks()) continue;
    const double wrong = norm_of_experts(task, [](auto&, Index) { return 1.0; });
    CHECK(wrong / expected == Approx(double(task.num_ranks())).epsilon(1e-12));
  }
}

TEST_CASE("the global norm counts every expert once, on every rank") {
  const auto layer = Task{}.whole();
  Pass pass(layer);
  test::StepResult<double> result;
  test::run_step(layer, Task{}.batch(), Task{}.key().fold(2), pass, result);
  const double expected = clip_by_global_norm(pass.gradients(layer), 0.01);
  const auto clipped = test::gradients_of(layer, pass);
  for (const std::vector<Index>& rows :
       {std::vector<Index>{37}, {20, 17}, {0, 25, 12}, {9, 0, 27, 1}}) {
    const Task task{.rows = rows};
    std::vector<double> norms(rows.size()), without(rows.size());
    std::vector<std::vector<double>> ends(rows.size());
    on_ranks(task, [&](std::size_t rank, auto& world, auto& spread, auto& own, auto& batch) {
      spread.backward(batch.samples(), batch.dy, own);
      const auto gradients = own.gradients(spread);
      reduce_gradients(world, spread, gradients);
      Gradients<double> copy(spread);
      for (Index i = 0; i < gradients.size(); ++i) copy[i] = gradients[i];
      norms[rank] = clip_by_global_norm(world, spread, gradients, 0.01);
      ends[rank] = test::values_of(gradients);
      // The last rank's first expert is left out.
      if (Index(rank) + 1 == world.size())
        for (Index i = 0; i < 4; ++i) copy[i].setZero();
      without[rank] = clip_by_global_norm(world, spread, copy.view(), 0.01);
    });
    std::vector<double> all;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      CHECK(norms[r] == norms[0]);
      const IndexRange share = task.share(Index(r));
      const std::size_t of_expert = std::size_t(count_parameters(layer.experts().front()));
      all.insert(all.end(), ends[r].begin(),
                 ends[r].begin() + std::ptrdiff_t(of_expert * std::size_t(share.size())));
      if (r + 1 == rows.size())
        all.insert(all.end(),
                   ends[r].begin() + std::ptrdiff_t(of_expert * std::size_t(share.size())),
                   ends[r].end());
    }
    CHECK(norms[0] == Approx(expected).epsilon(1e-14));
    CHECK(without[0] < 0.999 * expected);
    CHECK(test::relative_error(
              Eigen::Map<const Vector<double>>(all.data(), Index(all.size())),
              Eigen::Map<const Vector<double>>(clipped.data(), Index(clipped.size()))) <= 1e-12);
  }
}

TEST_CASE("a gradient that is not finite is told on every rank") {
  std::vector<int> told(2);
  const Task task{.rows = {20, 17}};
  on_ranks(task, [&](std::size_t rank, auto& world, auto& layer, auto& pass, auto& batch) {
    layer.backward(batch.samples(), batch.dy, pass);
    if (rank == 1) pass.gradients(layer)[0](0, 0) = std::numeric_limits<double>::infinity();
    try {
      clip_by_global_norm(world, layer, pass.gradients(layer), 1);
    } catch (const NotFinite&) {
      told[rank] = 1;
    }
    world.barrier();
  });
  CHECK(told == std::vector<int>{1, 1});
}

TEST_CASE("the gates' gradient is that of the loss of all ranks: differences say so") {
  const Task task{.rows = {20, 0, 17}};
  const double h = 1e-6;
  std::vector<double> by_gradient(3), by_difference(3);
  on_ranks(task, [&](std::size_t rank, auto& world, auto& layer, auto& pass, auto& batch) {
    layer.backward(batch.samples(), batch.dy, pass);
    reduce_gradients(world, layer, pass.gradients(layer));
    const std::string name = "gates.0.leaf.weight";
    by_gradient[rank] = test::gradient(layer, pass, name)(2, 3);
    double losses[2];
    for (const int side : {0, 1}) {
      auto changed = layer;
      test::parameter(changed, name)(2, 3) += side == 0 ? -h : h;
      Pass other(changed);
      Matrix<double> y(task.m, batch.dy.cols());
      changed.predict(batch.samples(), y, other);
      losses[side] = sum_over_ranks(world, batch.dy.cwiseProduct(y).sum());
    }
    by_difference[rank] = (losses[1] - losses[0]) / (2 * h);
  });
  CHECK(std::abs(by_difference[0]) > 1e-4);
  for (std::size_t r = 0; r < 3; ++r) {
    CHECK(by_gradient[r] == Approx(by_difference[r]).epsilon(1e-6));
    CHECK(by_gradient[r] == by_gradient[0]);
  }
}

TEST_CASE("weights of an expert without rows decay as in one process") {
  Task task{.gate = "hash", .rows = {20, 17}};
  task.ids = std::vector<std::int32_t>(37, 3);
  task.gate_options.num_ids = 4;
  auto whole = task.whole();
  const auto start = test::values_of(whole);
  const AdamOptions options{.learning_rate = 0.1, .weight_decay = 0.5};
  const auto step = [&](auto& layer, auto& pass, const auto& batch) {
    Matrix<double> y(task.m, batch.dy.cols());
    layer.forward(batch.samples(), y, task.key().fold(2), pass);
    layer.backward(batch.samples(), batch.dy, pass);
    Adam adam(layer, options);
    adam.step(layer, pass);
  };
  Pass pass(whole);
  step(whole, pass, task.batch());
  std::vector<std::vector<double>> ends(2);
  on_ranks(task, [&](std::size_t rank, auto&, auto& layer, auto& own, auto& batch) {
    step(layer, own, batch);
    ends[rank] = test::values_of(layer);
  });
  ends[0].insert(ends[0].end(), ends[1].begin(), ends[1].end());
  CHECK(test::same_bits(ends[0], test::values_of(whole)));
  Index decayed = 0;
  for (std::size_t i = 0; i < start.size(); ++i)
    decayed += start[i] != 0 && ends[0][i] == start[i] * (1 - 0.1 * 0.5);
  CHECK(decayed >= 4 * 6 * 9);  // of four of five experts, one weight alone
}

TEST_CASE("data parallel alone: every rank has every expert") {
  Task task{.gate = "top_k", .rows = {20, 0, 17}};
  task.gate_options = {.load_balance = 0.3, .router_z = 0.2};
  const auto expected = test::whole_step(task);
  const auto layer = task.whole();
  std::vector<std::vector<Matrix<double>>> gradients(3);
  std::vector<double> penalties(3);
  run_ranks(3, [&](ThreadCommunicator& world) {
    const auto rank = std::size_t(world.rank());
    Pass pass(layer);
    pass.rank_sum = make_rank_sum(world);
    test::StepResult<double> result;
    test::run_step(layer, task.batch().part(task.rows_of(world.rank()), 1), task.key().fold(2),
                   pass, result);
    penalties[rank] = result.regularization;
    reduce_gradients(world, layer, pass.gradients(layer));
    for (Index i = 0; i < pass.gradients(layer).size(); ++i)
      gradients[rank].emplace_back(pass.gradients(layer)[i]);
  });
  for (std::size_t r = 0; r < 3; ++r) {
    CHECK(penalties[r] == Approx(expected.regularization).epsilon(1e-12));
    for (std::size_t i = 0; i < gradients[r].size(); ++i) {
      const std::size_t n = expected.experts.size();
      CHECK(test::relative_error(gradients[r][i],
                                 i < n ? expected.experts[i] : expected.gates[i - n]) <= 1e-12);
      CHECK(test::same_bits(gradients[r][i], gradients[0][i]));
    }
  }
}

TEST_CASE("gradients that are 0 on all ranks do not travel; one that is not on one rank does") {
  std::vector<Index> bytes(3);
  std::vector<std::vector<double>> sums(3);
  run_ranks(3, [&](ThreadCommunicator& threads) {
    const auto rank = std::size_t(threads.rank());
    CountingCommunicator world(threads);
    const Dense<double> dense({.input_dim = 30, .output_dim = 40}, RandomKey(1));
    const Row model{{dense, dense, dense}};
    Gradients<double> gradients(model);
    if (rank == 1) gradients[2](29, 39) = 2;  // its last number
    if (rank == 2) gradients[2](0, 0) = -0.0;
    world.reset();
    reduce_gradients(world, model, gradients.view());
    bytes[rank] = world.bytes();
    sums[rank] = {gradients[2](29, 39), gradients[2].sum(), gradients[0].sum()};
  });
  // 1200 weights of one tensor out of six.
  CHECK(bytes[0] + bytes[1] + bytes[2] == 2 * 2 * 1200 * 8 + 3 * 2 * 6);
  for (const auto& sum : sums) CHECK(sum == std::vector<double>{2, 2, 0});
}

TEST_CASE("a model knows which of its tensors are one rank's alone") {
  const Task task{.rows = {20, 17}};
  std::vector<std::vector<std::uint8_t>> own(2);
  std::vector<std::vector<std::string>> names(2);
  run_ranks(2, [&](ThreadCommunicator& world) {
    const auto rank = std::size_t(world.rank());
    const Dense<double> dense({.input_dim = 2, .output_dim = 2}, RandomKey(1));
    const Model model{
        dense, {world, task.gates(), task.experts(task.share(world.rank()))}, {dense, dense}};
    own[rank] = own_tensors(model);
    for_each_parameter(
        model, [&](const ParameterName& name, const auto&) { names[rank].push_back(name.str()); });
    check_replicated(world, model);
  });
  for (std::size_t r = 0; r < 2; ++r) {
    REQUIRE(own[r].size() == names[r].size());
    for (std::size_t i = 0; i < names[r].size(); ++i)
      CHECK((own[r][i] == 1) == names[r][i].starts_with("mixture.experts."));
  }
  CHECK(names[1][2] == "mixture.experts.3.hidden.weight");
}

TEST_CASE("bytes of a step are those of the formula") {
  const Task task{.num_tasks = 2, .rows = {9, 0, 27, 1}};
  std::vector<Index> forward(4), backward(4), reduced(4);
  Index away = 0, parameters = 0;  // pairs of other ranks' experts
  std::mutex mutex;
  run_ranks(4, [&](ThreadCommunicator& threads) {
    const auto rank = std::size_t(threads.rank());
    CountingCommunicator world(threads);
    DistributedMoeLayer layer(world, task.gates(), task.experts(task.share(threads.rank())));
    Pass pass(layer);
    const auto batch = task.batch().part(task.rows_of(threads.rank()), 2);
    Matrix<double> y(task.m, batch.dy.cols()), dx = Matrix<double>::Zero(task.d, batch.x.cols());
    world.reset();
    layer.forward(batch.samples(), y, task.key(), pass);
    forward[rank] = world.bytes();
    world.reset();
    layer.backward(batch.samples(), batch.dy, dx, pass);
    backward[rank] = world.bytes();
    world.reset();
    reduce_gradients(world, layer, pass.gradients(layer));
    reduced[rank] = world.bytes();
    const std::lock_guard lock(mutex);
    for (Index e = 0; e < layer.num_experts(); ++e)
      if (e < layer.share().first || e >= layer.share().last)
        away += pass.workspace.plan().count(e);
    parameters = count_parameters(layer.gates().front()) * 2;
  });
  const auto sum = [](const std::vector<Index>& all) {
    Index total = 0;
    for (const Index each : all) total += each;
    return total;
  };
  // docs/distributed.md has these formulas.
  const Index P = 4, n = 5, s = sizeof(double), d = task.d, m = task.m;
  CHECK(away > 0);
  CHECK(sum(forward) == 8 * P * (P - 1) + 8 * n * (P - 1) + away * (4 + (d + m) * s));
  CHECK(sum(backward) == P * (P - 1) + away * (d + m) * s);
  const Index t = count_tensors(task.gates());
  CHECK(sum(reduced) ==
        (parameters * s <= 4096 ? P * (P - 1) : 2 * (P - 1)) * parameters * s + P * (P - 1) * t);
}
