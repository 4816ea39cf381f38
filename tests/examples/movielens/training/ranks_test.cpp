// SPDX-License-Identifier: MIT
// movielens train on several ranks, which are threads here; tests/mpi has them as processes.
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <comet/distributed/counting_communicator.hpp>

#include <movielens/commands/run.hpp>
#include <movielens/model/build_model.hpp>
#include <movielens/model/two_task.hpp>

#include <examples/movielens/run_program.hpp>
#include <examples/programs/run_on_ranks.hpp>
#include <support/catch.hpp>

using namespace programs::movielens::test;
using comet::Index;
using programs::test::check_same_training;
using programs::test::run_on_ranks;

namespace {

std::vector<Outcome> train_on(Index ranks, const SmallTraining& training, const std::string& name,
                              const Arguments& more = {}) {
  return run_on_ranks<Program>(ranks, training.arguments(name, more));
}

/// On every rank the same, and said by rank 0 alone, in one line.
void check_refused(const std::vector<Outcome>& outcomes, const std::string& reason) {
  for (const Outcome& outcome : outcomes) {
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
    CHECK(lines_in(outcome.err) == 1);
  }
}

}  // namespace

TEST_CASE("movielens train: the same training on any number of ranks", "[movielens][ranks]") {
  const SmallTraining training;
  for (const std::string gate :
       {"comet", "top_k", "dselect_k", "hash", "softmax", "balanced_top_k", "remoe", "dense"}) {
    const Arguments options = {"--gate=" + gate, "--dropout=0.5", "--spread=0.1",
                               "--load-balance=0.1", "--learning-rate=0.001"};
    REQUIRE(training.train(gate, options).code == 0);
    for (const Index ranks : {2, 3}) {
      INFO(gate << " on " << ranks << " ranks");
      const std::string name = gate + std::to_string(ranks);
      const auto outcomes = train_on(ranks, training, name, options);
      for (const Outcome& outcome : outcomes) {
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
      }
      check_same_training(training.out(gate), training.out(name), 2e-5);
      CHECK(training.result(name)["ranks"] == ranks);
      if (gate != "comet") continue;
      Arguments again = options;
      again.push_back("--threads=2");
      CHECK(train_on(ranks, training, "again", again)[0].code == 0);
      CHECK(programs::test::remains_of(training.out("again")) ==
            programs::test::remains_of(training.out(name)));
    }
  }
}

TEST_CASE("movielens train on ranks: one step is that of one process to 1e-6",
          "[movielens][ranks]") {
  const SmallTraining training;
  // The first step's loss is before any update, the second line's after ten.
  const Arguments options = {"--learning-rate=0.0001", "--epochs=2", "--local-search=swap"};
  REQUIRE(training.train("one", options).code == 0);
  const auto expected = programs::test::losses_in(training.out("one"));
  for (const Index ranks : {2, 3, 4}) {
    const std::string name = "on" + std::to_string(ranks);
    CHECK(train_on(ranks, training, name, options)[0].code == 0);
    const auto losses = programs::test::losses_in(training.out(name));
    REQUIRE(losses.size() == expected.size());
    for (std::size_t i = 0; i < losses.size(); ++i)
      CHECK(losses[i] == Approx(expected[i]).epsilon(1e-6));
  }
}

TEST_CASE("movielens train on ranks: a local search ends in the order of one process",
          "[movielens][ranks]") {
  const SmallTraining training;
  for (const std::string search : {"relaxed", "swap"})
    for (const std::string gate : {"comet", "hash"}) {
      const std::string name = search + gate;
      const Arguments options = {
          "--gate=" + gate,    "--local-search=" + search,        "--epochs=5",
          "--search-epochs=4", "--search-temperatures=0.1,0.001", "--learning-rate=0.01"};
      REQUIRE(training.train(name, options).code == 0);
      const auto orders = programs::test::orders_in(training.out(name));
      CHECK(orders.front() != orders.back());  // it has learned
      for (const Index ranks : {2, 3}) {
        INFO(name << " on " << ranks << " ranks");
        const std::string many = name + std::to_string(ranks);
        for (const Outcome& outcome : train_on(ranks, training, many, options)) {
          INFO(outcome.err);
          REQUIRE(outcome.code == 0);
        }
        check_same_training(training.out(name), training.out(many), 1e-4);
      }
    }
}

TEST_CASE("movielens train on ranks: a batch may have fewer rows than there are ranks",
          "[movielens][ranks]") {
  const SmallTraining training;
  const Arguments options = {"--batch-size=2", "--epochs=1", "--learning-rate=0.0001",
                             "--no-weights"};
  REQUIRE(training.train("one", options).code == 0);
  for (const Outcome& outcome : train_on(3, training, "three", options)) {
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
  check_same_training(training.out("one"), training.out("three"), 1e-4);
}

TEST_CASE("movielens train on ranks: what the gates did is recorded of the whole batch",
          "[movielens][ranks]") {
  const SmallTraining training;
  const auto first_step = [&](const std::string& name) {
    std::istringstream lines(content_of(training.out(name) / "record.jsonl"));
    std::vector<nlohmann::json> records(2);
    for (auto& record : records) {
      std::string line;
      std::getline(lines, line);
      record = nlohmann::json::parse(line);
    }
    return std::make_pair(records, lines_in(lines.str()));
  };
  const auto options = [&](const std::string& name) {
    return Arguments{"--gate=top_k", "--record=" + (training.out(name) / "record.jsonl").string()};
  };
  REQUIRE(training.train("one", options("one")).code == 0);
  CHECK(train_on(3, training, "three", options("three"))[0].code == 0);
  CHECK(first_step("three") == first_step("one"));
}

TEST_CASE("movielens train on ranks: killed, it goes on on another number of ranks",
          "[movielens][ranks][resume]") {
  const SmallTraining training;
  for (const int signal : {SIGKILL, SIGTERM}) {
    // Most of it is a search.
    const std::string search = signal == SIGKILL ? "relaxed" : "swap", one = "one" + search,
                      name = search;
    const Arguments options = {"--learning-rate=0.001", "--checkpoint-every=2", "--epochs=6",
                               "--search-epochs=5", "--local-search=" + search};
    REQUIRE(training.train(one, options).code == 0);
    Arguments resumed = options;
    resumed.push_back("--resume");
    const auto checkpoint = training.out(name) / "checkpoint.safetensors";
    bool was_there = false;
    for (const Index ranks : {2, 3, 1}) {
      comet::test::ChildProcess child(
          [&] { return train_on(ranks, training, name, resumed)[0].code; });
      const auto before =
          std::filesystem::exists(checkpoint) ? content_of(checkpoint) : std::string();
      for (int i = 0; i < 2000; ++i) {  // until it has left another
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (std::filesystem::exists(checkpoint) && content_of(checkpoint) != before) break;
      }
      const int code = child.end(signal);
      was_there = was_there || std::filesystem::exists(checkpoint);
      CHECK((code == 0 || code == (signal == SIGTERM ? 130 : -1)));
    }
    CHECK(was_there);
    CHECK(train_on(2, training, name, resumed)[0].code == 0);
    check_same_training(training.out(one), training.out(name), 2e-5);
  }
}

TEST_CASE("movielens on ranks: what is not to be had is refused on all of them",
          "[movielens][ranks]") {
  const SmallTraining training;
  REQUIRE(training.train("before").code == 0);
  check_refused(train_on(2, training, "before", {"--gate=expert_choice"}),
                "--gate expert_choice looks at all rows of a batch and runs in one process");
  CHECK(std::filesystem::exists(training.out("before") / "result.json"));  // nothing was begun
  check_refused(
      run_on_ranks<Program>(3, {"evaluate", "--model", training.model("before"), "--data", "data"}),
      "movielens: evaluate runs in one process, and there are 3; train runs on several");
  check_refused(train_on(2, training, "refused", {"--batch-size=0"}), "--batch-size is 0");
  CHECK_FALSE(std::filesystem::exists(training.out("refused")));
}

TEST_CASE("movielens on ranks: other options, data or files on one rank are named",
          "[movielens][ranks]") {
  const SmallTraining training;
  const auto on_rank_1 = [&](const Arguments& more) {
    return run_on_ranks<Program>(
        3, [&](Index rank) { return training.arguments("out", rank == 1 ? more : Arguments()); });
  };
  check_refused(on_rank_1({"--gate=top_k"}),
                R"(rank 1 differs from rank 0: gate: "top_k" there, "comet" here)");
  check_refused(on_rank_1({"--record-every=3"}), "record_every: 3 there, 10 here");
  const auto other = training.out("other").string();
  REQUIRE(run_program({"synthesize", other, "--users", "30", "--items", "40", "--ratings", "400",
                       "--seed", "2"})
              .code == 0);
  check_refused(on_rank_1({"--data=" + other}), "rank 1 differs from rank 0: data: ");
  CHECK_FALSE(std::filesystem::exists(training.out("out")));
}

TEST_CASE("movielens train on ranks: a disk on which rank 0 cannot write ends all of them",
          "[movielens][ranks]") {
  const SmallTraining training;
  std::filesystem::create_directories(training.out("out") / "steps.jsonl");  // no file
  const auto outcomes = train_on(2, training, "out");
  CHECK_THAT(outcomes[0].err, ContainsSubstring("steps.jsonl"));
  CHECK(lines_in(outcomes[0].err) == 1);
  CHECK(outcomes[0].code == 2);
  CHECK_THAT(outcomes[1].err, ContainsSubstring("rank 0 cannot go on"));
}

TEST_CASE("movielens train on ranks: bytes of a step are those of the formula",
          "[movielens][ranks]") {
  using namespace programs::movielens;
  const SmallTraining training;
  TrainOptions options;
  options.data = training.data();
  options.model.embedding_dim = 40;
  const Dataset data = load(options);
  const Index P = 3;
  std::vector<Index> bytes(static_cast<std::size_t>(P));
  Index above = 0, tensors = 0, width = 0;  // the same on every rank
  constexpr Index rows = 64;
  std::mutex mutex;
  comet::run_ranks(P, [&](comet::ThreadCommunicator& world) {
    comet::CountingCommunicator counting(world);
    programs::RanksOf<decltype(counting)> ranks(counting);
    Model model = build_model(options, data.rows.num_users, data.item_frequency());
    TwoTask task(model, data.rows, rows, task_weights(options), nullptr, &ranks);
    comet::Gradients<float> gradients(model);
    counting.reset();
    (void)task.accumulate_gradients(0, comet::RandomKey(1), gradients);
    bytes[std::size_t(world.rank())] = counting.bytes();
    const std::lock_guard lock(mutex);
    const comet::GradientView<float> of_all = gradients;
    const auto rest = of_all.middle(2, of_all.size() - 2);
    above = 0;
    for (Index i = 0; i < rest.size(); ++i)
      if (!rest[i].isZero(0)) above += rest[i].size();
    tensors = rest.size();
    width = model.mixture().input_dim();
  });
  // docs/distributed.md has this formula: gradients, and which of them travel; dx; two numbers a
  // gate for the entropy, and two losses.
  CHECK(above > 0);
  CHECK(bytes[0] + bytes[1] + bytes[2] == 2 * (P - 1) * above * 4 + P * (P - 1) * tensors +
                                              (P - 1) * rows * width * 4 +
                                              8 * P * (P - 1) * (2 * 2 + 2));
}
