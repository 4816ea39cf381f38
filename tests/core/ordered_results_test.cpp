// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <comet/core/ordered_results.hpp>
#include <comet/core/thread_pool.hpp>

#include <support/catch.hpp>

using comet::Index;
using comet::ThreadPool;
using comet::detail::OrderedResults;

namespace {

/// What is taken from tasks that leave their number in their room; `body` before that.
template <class Body>
std::vector<Index> taken(Index count, Index threads, Body body) {
  ThreadPool pool(threads);
  OrderedResults::Memory memory;
  std::vector<Index> rooms(std::size_t(memory.start(count, threads)), -1);
  OrderedResults results(memory);
  std::vector<Index> order;  // not atomic: one thread at a time takes
  pool.run(count, [&](Index task, Index worker) {
    results.run(
        task, worker,
        [&](Index room) {
          body(task);
          rooms[std::size_t(room)] = task;
        },
        [&](Index from, Index room) {
          CHECK(rooms[std::size_t(room)] == from);
          order.push_back(from);
        });
  });
  return order;
}

std::vector<Index> numbers(Index count) {
  std::vector<Index> all;
  for (Index i = 0; i < count; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("results are taken in the order of the tasks, on any number of threads") {
  for (const Index threads : {1, 2, 4})
    for (const Index count : {0, 1, 40}) {
      CAPTURE(threads, count);
      const auto order = taken(count, threads, [](Index task) {
        if (task % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
      });
      CHECK(order == numbers(count));
    }
}

TEST_CASE("a slow task does not hold up the others before rooms are full") {
  std::atomic<Index> done{0};
  const Index ahead = OrderedResults::rooms_per_worker;
  const auto order = taken(20, 2, [&](Index task) {
    // Task 0 waits for as many others as the other worker has rooms.
    while (task == 0 && done < ahead) std::this_thread::yield();
    ++done;
  });
  CHECK(order == numbers(20));
}

TEST_CASE("a task that throws has no result, and the others have theirs") {
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    OrderedResults::Memory memory;
    memory.start(20, threads);
    OrderedResults results(memory);
    std::vector<Index> order;
    const auto run = [&](Index task, Index worker) {
      results.run(
          task, worker,
          [&](Index /*room*/) {
            if (task == 5) throw std::runtime_error("the fifth");
          },
          [&](Index from, Index /*room*/) { order.push_back(from); });
    };
    if (threads == 1) {
      for (Index task = 0; task < 20; ++task)
        if (task != 5)
          run(task, 0);
        else
          CHECK_THROWS_WITH(run(task, 0), "the fifth");
    } else {
      CHECK_THROWS_WITH(pool.run(20, run), "the fifth");
    }
    auto expected = numbers(20);
    expected.erase(expected.begin() + 5);
    CHECK(order == expected);
  }
}
