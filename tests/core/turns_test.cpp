// SPDX-License-Identifier: MIT
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/core/turns.hpp>

#include <support/catch.hpp>

using comet::Index;
using comet::ThreadPool;
using comet::detail::Turns;

TEST_CASE("tasks take their turns in the order of their numbers, on any number of threads") {
  for (const Index threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    for (int round = 0; round < 20; ++round) {
      Turns turns;
      std::vector<Index> order;  // not atomic: one task at a time is at it
      pool.run(40, [&](Index task, Index) {
        const Turns::Turn turn(turns, task);
        if (task % 3 == 0) return;  // one that has nothing to do passes its turn on
        if (task % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
        turn.wait();
        order.push_back(task);
      });
      std::vector<Index> expected;
      for (Index task = 0; task < 40; ++task)
        if (task % 3 != 0) expected.push_back(task);
      CHECK(order == expected);
    }
  }
}

TEST_CASE("a task that throws passes its turn on") {
  ThreadPool pool(2);
  Turns turns;
  std::vector<Index> order;
  CHECK_THROWS_WITH(pool.run(20,
                             [&](Index task, Index) {
                               const Turns::Turn turn(turns, task);
                               if (task == 5) throw std::runtime_error("the fifth");
                               turn.wait();
                               order.push_back(task);
                             }),
                    "the fifth");
  CHECK(order.size() == 19);
}
