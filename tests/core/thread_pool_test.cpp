// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <comet/core/thread_pool.hpp>

#include <support/catch.hpp>

using comet::Index;
using comet::parallel_for;
using comet::ThreadPool;

TEST_CASE("every task runs once, by a worker of the pool") {
  for (const Index threads : {1, 2, 4})
    for (const Index count : {0, 1, 2, 3, 100}) {
      CAPTURE(threads, count);
      ThreadPool pool(threads);
      CHECK(pool.num_threads() == threads);
      std::vector<std::atomic<int>> runs(std::size_t(count) + 1);
      std::atomic<bool> workers_fit{true};
      pool.run(count, [&](Index task, Index worker) {
        runs[std::size_t(task)].fetch_add(1);
        if (worker < 0 || worker >= threads) workers_fit = false;
      });
      CHECK(workers_fit);
      for (Index task = 0; task < count; ++task) CHECK(runs[std::size_t(task)] == 1);
    }
}

TEST_CASE("no two tasks run with the same worker number at a time") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> clash{false};
  pool.run(300, [&](Index, Index worker) {
    if (inside[std::size_t(worker)].fetch_add(1) != 0) clash = true;
    std::this_thread::yield();
    inside[std::size_t(worker)].fetch_sub(1);
  });
  CHECK_FALSE(clash);
}

TEST_CASE("more than one thread takes part") {
  ThreadPool pool(2);
  // Task 0 waits for task 1: with one thread it would wait forever.
  std::atomic<bool> second{false};
  pool.run(2, [&](Index task, Index) {
    if (task == 1) second = true;
    while (!second) std::this_thread::yield();
  });
  CHECK(second);
}

TEST_CASE("what tasks wrote is seen after run, over many small regions") {
  for (const Index threads : {2, 4}) {
    ThreadPool pool(threads);
    std::vector<Index> values(7, 0);  // not atomic: run() itself has to order them
    for (int region = 0; region < 2000; ++region) {
      const Index count = region % 8;
      pool.run(count, [&](Index task, Index) { ++values[std::size_t(task)]; });
    }
    Index expected = 0;
    for (int region = 0; region < 2000; ++region) expected += region % 8;
    CHECK(std::accumulate(values.begin(), values.end(), Index(0)) == expected);
  }
}

TEST_CASE("an exception of a task arrives at the caller, the lowest task's first") {
  for (const Index threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    std::atomic<int> runs{0};
    CHECK_THROWS_WITH(pool.run(50,
                               [&](Index task, Index) {
                                 ++runs;
                                 if (task % 10 == 3)
                                   throw std::runtime_error("task " + std::to_string(task));
                               }),
                      "task 3");
    CHECK(runs >= 4);
    // The pool is as good as new.
    std::atomic<Index> sum{0};
    pool.run(50, [&](Index task, Index) { sum += task; });
    CHECK(sum == 49 * 50 / 2);
  }
}

TEST_CASE("a task may use its own pool: it then works alone") {
  ThreadPool pool(3);
  std::atomic<Index> sum{0};
  std::atomic<Index> workers{0};
  pool.run(10, [&](Index, Index) {
    pool.run(10, [&](Index task, Index worker) {
      sum += task;
      workers += worker;
    });
  });
  CHECK(sum == 10 * 45);
  CHECK(workers == 0);
}

TEST_CASE("threads may share a pool") {
  ThreadPool pool(2);
  std::atomic<Index> sum{0};
  const auto caller = [&] {
    for (int i = 0; i < 300; ++i) pool.run(5, [&](Index task, Index) { sum += task; });
  };
  std::thread other(caller);
  caller();
  other.join();
  CHECK(sum == 2 * 300 * 10);
}

TEST_CASE("a pool may be destroyed before, during or long after its threads start") {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(3);
    if (i % 3 == 1) pool.run(2, [](Index, Index) {});
    if (i % 3 == 2) std::this_thread::yield();
  }
  SUCCEED();
}

TEST_CASE("parallel_for works without a pool, in order") {
  std::vector<Index> order;
  parallel_for(nullptr, 4, [&](Index task, Index worker) {
    CHECK(worker == 0);
    order.push_back(task);
  });
  CHECK(order == std::vector<Index>{0, 1, 2, 3});
}

TEST_CASE("a pool takes the machine's number of threads, or refuses a negative one") {
  CHECK(ThreadPool().num_threads() >= 1);
  CHECK_THROWS_WITH(ThreadPool(-1), "comet::ThreadPool: num_threads is -1, expected at least 0");
}

// The sanitizers reserve the address space, and end a program that gets no more of it.
#if defined(__has_feature)
#define COMET_TEST_HAS_FEATURE(name) __has_feature(name)
#else
#define COMET_TEST_HAS_FEATURE(name) 0
#endif
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !COMET_TEST_HAS_FEATURE(address_sanitizer) && !COMET_TEST_HAS_FEATURE(thread_sanitizer)

TEST_CASE("a pool that is given too few threads says how many, and leaves none") {
  const auto number_in = [](const std::string& file, const std::string& name) {
    std::ifstream lines(file);
    std::string word;
    long number = -1;
    while (lines >> word)
      if (word == name) lines >> number;
    return number;
  };
  const long used = number_in("/proc/self/status", "VmSize:");  // in KiB
  const long threads = number_in("/proc/self/status", "Threads:");
  REQUIRE(used > 0);
  rlimit before;
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  // Room for the stacks of some threads, not of all.
  rlimit tight = before;
  tight.rlim_cur = (rlim_t(used) << 10) + (rlim_t(256) << 20);
  REQUIRE(::setrlimit(RLIMIT_AS, &tight) == 0);
  std::string refusal;
  std::error_code reason;
  try {
    ThreadPool pool(5000);
  } catch (const std::system_error& error) {
    refusal = error.what();
    reason = error.code();
  }
  ::setrlimit(RLIMIT_AS, &before);
  CAPTURE(refusal);
  CHECK(reason == std::errc::resource_unavailable_try_again);
  CHECK(refusal.rfind("comet::ThreadPool: only ", 0) == 0);
  CHECK(refusal.find(" of 5000 threads could be started: ") != std::string::npos);
  CHECK(refusal.find(" only 1 of") == std::string::npos);
  CHECK(number_in("/proc/self/status", "Threads:") == threads);
  CHECK(ThreadPool(3).num_threads() == 3);
}

#endif

TEST_CASE("work below the threshold stays in the calling thread") {
  ThreadPool pool(2);
  CHECK(comet::detail::worth_threads(&pool, comet::detail::parallel_threshold) == &pool);
  CHECK(comet::detail::worth_threads(&pool, comet::detail::parallel_threshold - 1) == nullptr);
  CHECK(comet::detail::worth_threads(nullptr, 1e18) == nullptr);
  CHECK(comet::detail::num_workers(&pool) == 2);
  CHECK(comet::detail::num_workers(nullptr) == 1);
}
