// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief Threads that share a flat list of numbered tasks, claimed one by one from one counter.
///
/// The caller works too, so a pool of 1 has no threads and takes no lock. What a task computes may
/// depend on its number, never on the worker that runs it: that is what makes results the same for
/// any number of threads. Repeated calls allocate nothing (which is why this is not
/// Eigen::ThreadPool: it allocates for every closure it schedules and has no join).
///
/// \par Threads  Safe to share: a pool that is busy with another caller's tasks makes
///               `parallel_for` run its own in the calling thread.
/// \par Forks    A child of fork() has none of the threads: in it, a pool from before the fork can
///               neither run nor be destroyed. End such a child by exec or _exit, or fork first.
class ThreadPool {
 public:
  /// \param num_threads  workers including the caller; 0 takes as many as the machine has
  /// \throws std::invalid_argument if num_threads < 0
  /// \throws std::system_error if the system does not give so many; those that it gave are gone
  explicit ThreadPool(Index num_threads = 0) : ThreadPool(Empty{}) {
    detail::check_at_least("ThreadPool", "num_threads", num_threads, 0);
    if (num_threads == 0) num_threads = Index(std::thread::hardware_concurrency());
    start(num_threads);
  }

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  ~ThreadPool() {
    stopping_ = true;
    wake();
    for (auto& thread : threads_) thread.join();
  }

  /// Threads that work, the calling one included.
  [[nodiscard]] Index num_threads() const noexcept { return Index(threads_.size()) + 1; }

  /// \brief Runs body(task, worker) for every task in 0..count-1 and returns when all are done.
  ///
  /// `worker` is in 0..num_threads()-1, and no two tasks of one call run with the same one at a
  /// time: it picks scratch. A call that finds the pool busy runs its tasks itself, as worker 0 of
  /// its own. If tasks throw, the exception of the lowest-numbered one that did is rethrown here.
  template <class Body>
  void run(Index count, Body&& body) {
    bool idle = false;
    const bool alone = count <= 1 || threads_.empty() ||
                       !busy_.compare_exchange_strong(idle, true, std::memory_order_acquire);
    if (alone) {
      for (Index task = 0; task < count; ++task) body(task, Index(0));
      return;
    }
    call_ = [](void* context, Index task, Index worker) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(task, worker);
    };
    context_ = const_cast<void*>(static_cast<const void*>(&body));
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    failure_ = nullptr;
    open_.store(true);
    wake();
    work(0);
    open_.store(false);
    while (inside_.load() != 0) std::this_thread::yield();
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    busy_.store(false, std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
  }

 private:
  // A pool is whole before its first thread starts: should a later one not start, the destructor
  // runs and joins those that did.
  struct Empty {};
  explicit ThreadPool(Empty) {}

  void start(Index num_threads) {
    const auto refuse = [&](std::error_code reason) {
      throw std::system_error(
          reason, "comet::ThreadPool: only " + std::to_string(threads_.size() + 1) + " of " +
                      std::to_string(num_threads) + " threads could be started");
    };
    try {
      for (Index worker = 1; worker < num_threads; ++worker)
        threads_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::system_error& error) {
      refuse(error.code());
    } catch (const std::bad_alloc&) {
      refuse(std::make_error_code(std::errc::not_enough_memory));
    }
  }

  void wake() {
    generation_.fetch_add(1);
    generation_.notify_all();
  }

  /// Waits for some dozens of cycles, in which a thread that shares the core can use it alone.
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    for (int i = 0; i < 32; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
  }

  // A worker that arrives late may find the list closed. It registers in inside_ before it looks at
  // open_, and the caller closes open_ before it looks at inside_ (both sequentially consistent),
  // so the caller never returns while a worker can still read its tasks.
  void serve(Index worker) {
    std::uint32_t seen = 0;
    while (!stopping_) {
      // Regions follow each other closely within a training step, with a plan or a sort between
      // them at most: look out for the next one for some tens of microseconds before going to sleep
      // in the kernel, so that a pass wakes a thread once.
      for (int spin = 0; spin < 2000 && generation_.load() == seen; ++spin) pause();
      generation_.wait(seen);
      seen = generation_.load();
      inside_.fetch_add(1);
      if (open_.load()) work(worker);
      inside_.fetch_sub(1);
    }
  }

  void work(Index worker) {
    for (;;) {
      const Index task = next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= count_) return;
      try {
        call_(context_, task, worker);
      } catch (...) {
        const std::lock_guard lock(failure_mutex_);
        if (!failure_ || task < failed_task_) {
          failure_ = std::current_exception();
          failed_task_ = task;
        }
      }
    }
  }

  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> busy_{false};
  std::atomic<bool> open_{false};
  std::atomic<int> inside_{0};
  alignas(64) std::atomic<Index> next_{0};

  void (*call_)(void*, Index, Index) = nullptr;
  void* context_ = nullptr;
  Index count_ = 0;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  Index failed_task_ = 0;
};

/// \brief Runs body(task, worker) for every task, on the pool if there is one.
template <class Body>
void parallel_for(ThreadPool* pool, Index count, Body&& body) {
  if (pool != nullptr) {
    pool->run(count, body);
  } else {
    for (Index task = 0; task < count; ++task) body(task, Index(0));
  }
}

namespace detail {

/// Below this many multiply-adds (some tens of microseconds) waking a thread costs more than it
/// brings.
inline constexpr double parallel_threshold = 1 << 20;

inline ThreadPool* worth_threads(ThreadPool* pool, double multiply_adds) {
  return multiply_adds < parallel_threshold ? nullptr : pool;
}

inline Index num_workers(const ThreadPool* pool) { return pool ? pool->num_threads() : 1; }

/// body(b) for every sample b in 0..count-1, in chunks that threads share: for bodies that touch
/// what is their sample's only.
template <class Body>
void for_each_sample(ThreadPool* pool, Index count, Body body) {
  constexpr Index chunk_size = 64;
  parallel_for(pool, (count + chunk_size - 1) / chunk_size, [&](Index chunk, Index) {
    const Index last = std::min((chunk + 1) * chunk_size, count);
    for (Index b = chunk * chunk_size; b < last; ++b) body(b);
  });
}

}  // namespace detail

}  // namespace comet
