// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <comet/distributed/checkpoint.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/ranks.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;
using comet::test::RankTask;

namespace {

using Task = RankTask<double>;

Task task_of(Index ranks) {
  Task task{.gate = "balanced_top_k", .num_tasks = 2};
  task.rows.clear();
  for (Index r = 0; r < ranks; ++r) task.rows.push_back(share_of(30, r, ranks).size());
  return task;
}

/// A layer and its Adam on a rank, with all that a checkpoint has of them.
struct Training {
  Task task;
  ThreadCommunicator& world;
  Task::Spread layer;
  Pass<Task::Spread> pass;
  Adam<double> adam;
  Checkpoint<ThreadCommunicator> checkpoint;

  Training(const Task& of, ThreadCommunicator& ranks)
      : task(of),
        world(ranks),
        layer(ranks, of.gates(), of.experts(of.share(ranks.rank()))),
        pass(layer),
        adam(layer, {.learning_rate = 0.01, .epsilon = 1e-3}),
        checkpoint(ranks) {
    checkpoint.add_parameters(layer, "model.");
    checkpoint.add_optimizer(layer, adam, "adam.");
    checkpoint.add_state(layer.gates(), "gates.");
  }

  void train(Index first, Index last) {
    for (Index step = first; step < last; ++step) {
      const auto batch = task.batch(step).part(task.rows_of(world.rank()), task.num_tasks);
      test::StepResult<double> result;
      test::run_step(layer, batch, task.key().fold(step), pass, result);
      reduce_gradients(world, layer, pass.gradients(layer));
      adam.step(layer, pass);
      for (std::size_t t = 0; t < layer.gates().size(); ++t) {
        std::vector<Index> load(5, 0);
        for (const ExpertId expert : result.routings[t].experts()) ++load[std::size_t(expert)];
        sum_over_ranks(world, std::span(load));
        end_of_step(layer.gates()[t], std::span<const Index>(load), pass.workspace.gates()[t]);
      }
    }
  }
};

/// Every tensor of a checkpoint, whichever file it is in.
std::map<std::string, std::vector<double>> tensors_of(const std::filesystem::path& index) {
  std::map<std::string, std::vector<double>> all;
  for (const auto& [name, shard] : detail::ShardIndex::read(index).shards) {
    const TensorFile file(index.parent_path() / shard);
    if (file.tensor(name).dtype == "F64") all[name] = file.values<double>(name);
  }
  return all;
}

}  // namespace

TEST_CASE("a training saved on some ranks goes on, on others, to the same numbers") {
  const test::TemporaryDirectory directory;
  const auto expected_at = directory.path() / "expected.index.json";
  run_ranks(1, [&](ThreadCommunicator& world) {
    Training training(task_of(1), world);
    training.train(0, 6);
    training.checkpoint.save(expected_at);
  });
  const auto expected = tensors_of(expected_at);
  REQUIRE(expected.contains("model.experts.4.hidden.weight"));
  REQUIRE(expected.contains("adam.square.gates.1.weight"));
  REQUIRE(expected.contains("gates.1.selection_bias"));
  for (const Index from : {1, 2, 3, 4}) {
    const auto index = directory.path() / ("from" + std::to_string(from) + ".index.json");
    run_ranks(from, [&](ThreadCommunicator& world) {
      Training training(task_of(from), world);
      training.train(0, 3);
      training.checkpoint.save(index, {{"steps", "3"}});
    });
    const auto saved = tensors_of(index);
    for (const Index to : {1, 2, 3, 4}) {
      CAPTURE(from, to);
      const auto end = directory.path() / "end.index.json";
      const auto again = directory.path() / "again.index.json";
      run_ranks(to, [&](ThreadCommunicator& world) {
        Training training(task_of(to), world);
        const Metadata metadata = training.checkpoint.load(index);
        if (metadata != Metadata{{"steps", "3"}}) throw std::runtime_error("other metadata");
        training.checkpoint.save(again);
        training.train(3, 6);
        training.checkpoint.save(end);
      });
      CHECK(tensors_of(again) == saved);
      const auto actual = tensors_of(end);
      REQUIRE(actual.size() == expected.size());
      for (const auto& [name, values] : expected) {
        CAPTURE(name);
        const auto map = [](const std::vector<double>& v) {
          return Eigen::Map<const Vector<double>>(v.data(), Index(v.size()));
        };
        CHECK(test::relative_error(map(actual.at(name)), map(values)) <= 1e-12);
      }
    }
  }
}

TEST_CASE("saved again, old files go; no rank writes what is another's") {
  const test::TemporaryDirectory directory;
  const auto index = directory.path() / "model.safetensors.index.json";
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  };
  run_ranks(2, [&](ThreadCommunicator& world) {
    Training training(task_of(2), world);
    training.checkpoint.save(index);
    training.checkpoint.save(index);
  });
  CHECK(files() == std::vector<std::string>{"model.2.00001-of-00002.safetensors",
                                            "model.2.00002-of-00002.safetensors",
                                            "model.safetensors.index.json"});
  const TensorFile second(directory.path() / "model.2.00002-of-00002.safetensors");
  for (const Tensor& tensor : second.tensors())
    CHECK((tensor.name.find("experts.3.") != std::string::npos ||
           tensor.name.find("experts.4.") != std::string::npos));
}

TEST_CASE("what one rank cannot write is an error on all of them, and what was there stays") {
  const test::TemporaryDirectory directory;
  const auto index = directory.path() / "model.index.json";
  std::vector<std::string> told(2);
  run_ranks(2, [&](ThreadCommunicator& world) {
    Training training(task_of(2), world);
    training.checkpoint.save(index);
    // Where rank 1 would write there is a directory.
    if (world.rank() == 0)
      std::filesystem::create_directory(directory.path() / "model.2.00002-of-00002.safetensors");
    world.barrier();
    training.train(0, 1);
    try {
      training.checkpoint.save(index);
    } catch (const FileError& error) {
      told[std::size_t(world.rank())] = error.what();
    }
    training.checkpoint.load(index);
    if (training.adam.num_steps() != 0) throw std::runtime_error("not the first checkpoint");
  });
  CHECK(told[0] == index.string() + ": rank 1 could not write its part");
  CHECK(told[1].find("cannot be written: it is a directory") != std::string::npos);
}

TEST_CASE("a checkpoint of another model, or a damaged one, changes nothing on any rank") {
  const test::TemporaryDirectory directory;
  const auto index = directory.path() / "model.index.json";
  run_ranks(2,
            [&](ThreadCommunicator& world) { Training(task_of(2), world).checkpoint.save(index); });
  const auto refusals = [&](Index num_experts) {
    std::vector<std::string> told(3);
    run_ranks(3, [&](ThreadCommunicator& world) {
      Task task = task_of(3);
      task.num_experts = num_experts;
      Training training(task, world);
      const auto before = test::values_of(training.layer);
      try {
        training.checkpoint.load(index);
      } catch (const FileError& error) {
        told[std::size_t(world.rank())] = error.what();
      }
      if (test::values_of(training.layer) != before) throw std::runtime_error("changed");
    });
    return told;
  };
  for (const auto& text : refusals(6)) CHECK(text.find("tensors, expected") != std::string::npos);
  std::filesystem::resize_file(directory.path() / "model.1.00002-of-00002.safetensors", 100);
  const auto told = refusals(5);  // rank 0 has no expert of that file
  CHECK(told[0].find("could not read its part") != std::string::npos);
  CHECK(told[2].find("model.1.00002-of-00002.safetensors: ") != std::string::npos);
  directory.write("model.index.json", R"({"metadata": {}, "weight_map": {"a": "../b"}})");
  CHECK(refusals(5)[1].find("names a file elsewhere") != std::string::npos);
  directory.write("model.index.json", "{");
  CHECK(refusals(5)[1] == index.string() + ": is no index of a checkpoint");
}
