// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <comet/distributed/collectives.hpp>
#include <comet/distributed/counting_communicator.hpp>
#include <comet/distributed/self_communicator.hpp>
#include <comet/distributed/thread_communicator.hpp>
#include <comet/testing/communicator_laws.hpp>

#include <support/catch.hpp>

using namespace comet;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Runs ranks that are to fail and gives what each of them has thrown.
template <class F>
std::vector<std::string> failures(Index num_ranks, double time_limit, F f) {
  std::vector<std::string> thrown(static_cast<std::size_t>(num_ranks));
  try {
    run_ranks(num_ranks,
              [&](ThreadCommunicator& world) {
                try {
                  f(world);
                } catch (const std::exception& error) {
                  thrown[std::size_t(world.rank())] = error.what();
                  throw;
                }
              },
              {.time_limit = time_limit});
  } catch (const std::exception& error) {
    thrown.push_back(error.what());
  }
  return thrown;
}

/// A communicator that breaks a law: sums and pieces arrive in the wrong order.
struct Reversed : SelfCommunicator {
  void all_gather(std::span<const std::byte> out, std::span<const Index> counts,
                  std::span<std::byte> in, Index item_size) {
    SelfCommunicator::all_gather(out, counts, in, item_size);
    std::reverse(in.begin(), in.end());
  }
};

}  // namespace

TEST_CASE("threads and a rank alone keep the laws of communicators") {
  for (const Index ranks : {1, 2, 3, 4, 7}) {
    std::vector<std::vector<testing::BrokenLaw>> broken(static_cast<std::size_t>(ranks));
    run_ranks(ranks, [&](ThreadCommunicator& world) {
      CountingCommunicator counting(world);
      auto& mine = broken[std::size_t(world.rank())];
      mine = testing::check_communicator_laws(world, {.large = 1 << 14});
      const auto counted = testing::check_communicator_laws(counting, {.large = 8});
      mine.insert(mine.end(), counted.begin(), counted.end());
    });
    for (const auto& each : broken)
      for (const auto& law : each) FAIL_CHECK(law);
  }
  SelfCommunicator alone;
  for (const auto& law : testing::check_communicator_laws(alone)) FAIL_CHECK(law);
}

TEST_CASE("a communicator that breaks a law is found out") {
  Reversed reversed;
  const auto broken = testing::check_communicator_laws(reversed, {.large = 8});
  REQUIRE(!broken.empty());
  CHECK(broken.front().law == "all_gather collects what all have");
}

TEST_CASE("a rank's share: in order, all of it, even") {
  for (const Index n : {0, 1, 5, 8, 17})
    for (const Index ranks : {1, 2, 3, 4, 7}) {
      Index next = 0;
      for (Index r = 0; r < ranks; ++r) {
        const IndexRange share = share_of(n, r, ranks);
        CHECK(share.first == next);
        CHECK((share.size() == n / ranks || share.size() == n / ranks + 1));
        next = share.last;
      }
      CHECK(next == n);
    }
  CHECK_THROWS_WITH(share_of(3, 2, 2),
                    "comet::share_of: taker is 2, expected at most takers - 1 = 1");
}

TEST_CASE("a rank that throws ends the others at once, and its error is the one that is seen") {
  const auto start = Clock::now();
  const auto thrown = failures(3, 60, [](ThreadCommunicator& world) {
    world.barrier();
    if (world.rank() == 1) throw std::runtime_error("the disk is full");
    for (;;) world.barrier();
  });
  CHECK(seconds_since(start) < 10);
  REQUIRE(thrown.size() == 4);
  const std::string why = "does not get through: rank 1 has failed: the disk is full";
  CHECK(thrown[0] == "comet::ThreadCommunicator::barrier: rank 0 " + why);
  CHECK(thrown[2] == "comet::ThreadCommunicator::barrier: rank 2 " + why);
  CHECK(thrown[3] == "the disk is full");
}

TEST_CASE("a rank that ends before the others ends them") {
  const auto thrown = failures(2, 60, [](ThreadCommunicator& world) {
    if (world.rank() == 0) world.barrier();
  });
  REQUIRE(thrown.size() == 3);
  CHECK(thrown[0] ==
        "comet::ThreadCommunicator::barrier: rank 0 does not get through: rank 1 has come to its "
        "end");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("a rank that is late is named after the time limit") {
  std::atomic<bool> given_up = false;
  const auto thrown = failures(3, 0.05, [&](ThreadCommunicator& world) {
    if (world.rank() == 2)
      while (!given_up) std::this_thread::yield();
    try {
      world.barrier();
    } catch (...) {
      given_up = true;
      throw;
    }
  });
  REQUIRE(thrown.size() == 4);
  CHECK(
      (thrown[0].find("has waited 0.05 seconds, the time limit, for rank 2") != std::string::npos ||
       thrown[1].find("has waited 0.05 seconds, the time limit, for rank 2") != std::string::npos));
  CHECK(thrown[2].find("the time limit") != std::string::npos);
}

TEST_CASE("ranks in different calls, or with different counts, are told so") {
  auto thrown = failures(2, 60, [](ThreadCommunicator& world) {
    Index number = 0;
    if (world.rank() == 0) world.barrier();
    if (world.rank() == 1) broadcast(world, std::span(&number, 1), 0);
  });
  for (const auto& each : thrown) {
    CHECK(each.find("barrier (0)") != std::string::npos);
    CHECK(each.find("broadcast (0)") != std::string::npos);
  }
  thrown = failures(2, 60, [](ThreadCommunicator& world) {
    const std::vector<Index> out_counts{1, 1}, in_counts{1, world.rank() == 0 ? 2 : 1};
    const std::vector<double> out(2);
    std::vector<double> in(world.rank() == 0 ? 3 : 2);
    all_to_all(world, out, out_counts, std::span(in), in_counts);
    world.barrier();
  });
  CHECK(thrown[0] ==
        "comet::ThreadCommunicator::all_to_all: in_counts[1] is 2, expected what rank 1 sends = 1");
  CHECK(thrown[1].find("rank 0 has failed") != std::string::npos);
}

TEST_CASE("bytes to others are counted, bytes to oneself are not") {
  run_ranks(3, [](ThreadCommunicator& world) {
    CountingCommunicator counting(world);
    const std::vector<Index> counts{1, 2, 3};
    std::vector<double> out(6), in(std::size_t(3 * counts[std::size_t(world.rank())]));
    const std::vector<Index> in_counts(3, counts[std::size_t(world.rank())]);
    all_to_all(counting, out, counts, std::span(in), in_counts);
    const bool right =
        counting.bytes() == 8 * (6 - counts[std::size_t(world.rank())]) && counting.calls() == 1;
    counting.reset();
    broadcast(counting, std::span(out), 1);
    if (!right || counting.bytes() != (world.rank() == 1 ? 2 * 48 : 0))
      throw std::runtime_error("counted wrong");
  });
}

TEST_CASE("numbers of ranks and seconds are checked") {
  const auto nothing = [](ThreadCommunicator&) {};
  CHECK_THROWS_WITH(run_ranks(0, nothing), "comet::run_ranks: num_ranks is 0, expected at least 1");
  CHECK_THROWS_WITH(run_ranks(2, nothing, {.time_limit = 0}),
                    "comet::run_ranks: time_limit is 0, expected a finite number > 0");
}
