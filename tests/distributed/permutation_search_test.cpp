// SPDX-License-Identifier: MIT
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <comet/distributed/checkpoint.hpp>
#include <comet/distributed/counting_communicator.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/distributed/replicated.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/ranks.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;
using comet::test::RankTask;

namespace {

using Task = RankTask<double>;
using Gate = Task::Permuted;
using Whole = MoeLayer<Gate, Task::Expert>;
using Spread = DistributedMoeLayer<ThreadCommunicator, Gate, Task::Expert>;

constexpr Index num_steps = 14;  // the search takes 12
constexpr PermutationSearchOptions options = {.steps = 12,
                                              .annealing = {.first_temperature = 0.1,
                                                            .last_temperature = 0.02,
                                                            .first_iterations = 4,
                                                            .last_iterations = 9},
                                              .entropy = 0.01,
                                              .noise = 0.1};

/// Rows of so many ranks: uneven, and from three ranks on one of them has none.
Task task_of(Index ranks, std::string gate = "comet") {
  Task task{.gate = std::move(gate), .num_tasks = 2};
  task.rows = std::vector<std::vector<Index>>{
      {37}, {20, 17}, {0, 25, 12}, {9, 0, 27, 1}}[std::size_t(ranks - 1)];
  if (task.gate != "hash") task.gate_options.entropy = 0.1;
  return task;
}

/// A layer and its search, as one model.
template <class Layer>
struct Model {
  using Scalar = double;
  Layer layer;
  PermutationSearch<double> search;
  Pass<Layer> pass;
  Gradients<double> gradients;
  Adam<double> adam;

  Model(Layer part, const PermutationSearchOptions& of_search)
      : layer(std::move(part)),
        search(of_search, layer.gates(), RandomKey(30)),
        gradients(*this),
        // Adam divides by the size of gradients: where they are nothing but rounding, by nothing.
        adam(*this, {.learning_rate = 0.02, .epsilon = 1e-3}) {}

  template <class F>
  void visit(F&& f) const {
    f("layer", layer);
    f("search", search);
  }

  void backward(const Task::Batch& batch) {
    GradientView<double> rest = gradients.view();
    pass.borrow(rest.next(layer));
    Matrix<double> y(Task::m, batch.dy.cols());
    layer.forward(batch.samples(), y, RandomKey(3), pass);
    layer.backward(batch.samples(), batch.dy, pass);
    search.backward(layer.gates(), pass.workspace.gates(), rest);
  }
  /// \param rows  of the step    \param reduce  what ranks do before the optimizer
  template <class Rows, class Reduce>
  void train(const Task& task, Index first, Index last, Rows rows, Reduce reduce) {
    for (Index step = first; step < last; ++step)
      step_with_local_search(
          search, layer.gates(),
          [&] {
            backward(task.batch().part(rows(step), task.num_tasks));
            reduce();
          },
          [&] { adam.step(*this, gradients); });
  }
  void train_alone(const Task& task, Index last = num_steps) {
    train(
        task, 0, last,
        [&](Index) {
          return IndexRange{0, task.num_rows()};
        },
        [] {});
  }
  void train_on_ranks(const Task& task, ThreadCommunicator& world, Index first, Index last) {
    train(
        task, first, last, [&](Index step) { return task.rows_of(world.rank(), step); },
        [&] { reduce_gradients(world, *this, gradients.view()); });
  }
};

Model<Whole> alone(const Task& task, const PermutationSearchOptions& of_search = options) {
  return {Whole(task.permuted_gates(), task.experts({0, task.num_experts})), of_search};
}
/// f(world, model) on each rank: with all experts there, or with some of them.
template <class F>
void on_ranks(const Task& task, bool spread, const PermutationSearchOptions& of_search, F f) {
  run_ranks(task.num_ranks(), [&](ThreadCommunicator& world) {
    if (spread) {
      Model<Spread> model(
          Spread(world, task.permuted_gates(), task.experts(task.share(world.rank()))), of_search);
      f(world, model);
    } else {
      Model<Whole> model = alone(task, of_search);
      model.pass.rank_sum = make_rank_sum(world);
      f(world, model);
    }
  });
}

/// Names of tensors that are not those of one process.
std::vector<std::string> differing(const auto& model, Model<Whole>& whole) {
  std::vector<std::string> names;
  for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
    if (test::relative_error(values, test::parameter(whole, name.str())) > 1e-10)
      names.push_back(name.str());
  });
  return names;
}

}  // namespace

TEST_CASE("a permutation search on ranks ends in the permutation of one process") {
  for (const std::string gate : {"comet", "top_k", "hash"})
    for (const bool of_each : {false, true}) {
      PermutationSearchOptions of_search = options;
      of_search.per_task = of_each;
      of_search.per_selector = of_each && gate == "comet";
      Model<Whole> whole = alone(task_of(1, gate), of_search);
      whole.train_alone(task_of(1, gate));
      for (const auto& found : whole.search.permutations())
        CHECK(found != Permutation::identity(5));
      for (const Index ranks : {1, 2, 3, 4})
        for (const bool spread : {false, true}) {
          CAPTURE(gate, of_each, ranks, spread);
          const Task task = task_of(ranks, gate);
          std::vector<std::vector<std::string>> names(static_cast<std::size_t>(ranks));
          std::vector<int> same(names.size());
          on_ranks(task, spread, of_search, [&](ThreadCommunicator& world, auto& model) {
            model.train_on_ranks(task, world, 0, num_steps);
            check_replicated(world, model);
            check_replicated_state(world, model.search);
            check_replicated_state(world, model.layer.gates());
            const auto rank = std::size_t(world.rank());
            names[rank] = differing(model, whole);
            same[rank] = model.search.permutations() == whole.search.permutations();
            for (std::size_t t = 0; t < 2; ++t)
              same[rank] +=
                  model.layer.gates()[t].permutations() == whole.layer.gates()[t].permutations();
          });
          for (const auto& each : names) CHECK(each == std::vector<std::string>());
          CHECK(same == std::vector<int>(names.size(), 3));
        }
    }
}

TEST_CASE("the penalty on a permutation counts once, not as many times as there are ranks") {
  PermutationSearchOptions of_search = options;
  of_search.entropy = 0.3;
  // Norm of the gradient by U where nothing else has one.
  const auto norm_of = [&](Index ranks, bool spread, bool each_counts_it) {
    Task task = task_of(ranks);
    std::vector<double> norms(static_cast<std::size_t>(ranks)), penalties(norms.size());
    on_ranks(task, spread, of_search, [&](ThreadCommunicator& world, auto& model) {
      auto batch = task.batch().part(task.rows_of(world.rank()), task.num_tasks);
      batch.dy.setZero();
      model.search.prepare(model.layer.gates());
      model.backward(batch);
      if (each_counts_it) {  // as a search would that knows of no other ranks
        model.gradients.set_zero();
        const std::vector<Pass<Gate>> passes(2);
        model.search.backward(model.layer.gates(), passes,
                              model.gradients.view().middle(count_tensors(model.layer), 1));
      }
      reduce_gradients(world, model, model.gradients.view());
      norms[std::size_t(world.rank())] =
          test::gradient(model, model.gradients, "search.permutations.0.logits").norm();
      penalties[std::size_t(world.rank())] = model.search.regularization();
    });
    for (std::size_t r = 0; r < norms.size(); ++r) {
      CHECK(norms[r] == norms[0]);
      CHECK(penalties[r] == penalties[0]);
    }
    return norms[0];
  };
  const double expected = norm_of(1, false, false);
  CHECK(expected > 1e-3);
  for (const Index ranks : {1, 2, 3, 4})
    for (const bool spread : {false, true}) {
      CAPTURE(ranks, spread);
      CHECK(norm_of(ranks, spread, false) / expected == Approx(1).epsilon(1e-12));
      CHECK(norm_of(ranks, spread, true) / expected == Approx(double(ranks)).epsilon(1e-12));
    }
}

TEST_CASE(
    "a soft permutation sends every sample to every expert; the search itself sends a number") {
  const Task task = task_of(4);
  std::vector<Index> pairs(4), bytes(4);
  run_ranks(4, [&](ThreadCommunicator& threads) {
    const auto rank = std::size_t(threads.rank());
    CountingCommunicator world(threads);
    DistributedMoeLayer layer(world, task.permuted_gates(),
                              task.experts(task.share(threads.rank())));
    PermutationSearch search(options, layer.gates(), RandomKey(30));
    Pass pass(layer);
    Gradients gradients(search);
    const auto batch = task.batch().part(task.rows_of(threads.rank()), task.num_tasks);
    Matrix<double> y(Task::m, batch.dy.cols());
    search.prepare(layer.gates());
    layer.forward(batch.samples(), y, RandomKey(3), pass);
    layer.backward(batch.samples(), batch.dy, pass);
    pairs[rank] = pass.workspace.plan().num_pairs();
    world.reset();
    search.backward(layer.gates(), pass.workspace.gates(), gradients);
    bytes[rank] = world.bytes();
  });
  for (std::size_t r = 0; r < 4; ++r) {
    CHECK(pairs[r] == 5 * task.rows[r]);
    CHECK(bytes[r] == 8 * 3);  // docs/distributed.md: 8 P (P - 1) of all ranks
  }
}

TEST_CASE("a search that is saved in its midst goes on on any number of ranks") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "search.safetensors.index.json";
  Model<Whole> whole = alone(task_of(1));
  whole.train_alone(task_of(1));
  const auto checkpoint_of = [](ThreadCommunicator& world, auto& model) {
    Checkpoint checkpoint(world);
    checkpoint.add_parameters(model, "model.");
    checkpoint.add_optimizer(model, model.adam, "adam.");
    checkpoint.add_state(model.layer.gates(), "gates.");
    checkpoint.add_state(model.search, "search.");
    return checkpoint;
  };
  for (const Index before : {1, 2, 3, 4})
    for (const Index after : {1, 2, 3, 4})
      for (const bool spread : {false, true}) {
        CAPTURE(before, after, spread);
        const Task first = task_of(before), second = task_of(after);
        on_ranks(first, spread, options, [&](ThreadCommunicator& world, auto& model) {
          model.train_on_ranks(first, world, 0, 7);
          checkpoint_of(world, model).save(file);
        });
        std::vector<std::vector<std::string>> names(static_cast<std::size_t>(after));
        std::vector<int> same(names.size());
        on_ranks(second, spread, options, [&](ThreadCommunicator& world, auto& model) {
          checkpoint_of(world, model).load(file);
          const bool in_midst = model.search.step() == 7 && !model.search.finished();
          model.train_on_ranks(second, world, 7, num_steps);
          names[std::size_t(world.rank())] = differing(model, whole);
          same[std::size_t(world.rank())] =
              in_midst && model.search.permutations() == whole.search.permutations();
        });
        for (const auto& each : names) CHECK(each == std::vector<std::string>());
        CHECK(same == std::vector<int>(names.size(), 1));
      }
}
