// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief Takes the results of the tasks 0, 1, 2 ... of a ThreadPool in the order of their numbers,
/// whoever computes them: a sum over tasks then has one order.
///
/// Every worker has a few rooms for results whose turn has not come, so that a thread which the
/// system has suspended does not hold up the others at once. A worker whose rooms are all taken
/// waits for one. That ends: tasks are claimed in ascending order, so the results in its rooms come
/// before the task it is about to do, and wait for other threads alone.
class OrderedResults {
 public:
  static constexpr Index rooms_per_worker = 4;

  /// What stays from call to call, so that nothing is allocated.
  struct Memory {
    std::vector<Index> room_of_task;  // or one of the two below
    std::vector<char> is_taken;       // per room

    /// Rooms are numbered worker by worker. \return how many there are
    Index start(Index num_tasks, Index num_workers) {
      const Index rooms = num_workers == 1 ? 1 : num_workers * rooms_per_worker;
      if (room_of_task.capacity() < std::size_t(num_tasks))
        room_of_task.reserve(2 * std::size_t(num_tasks));  // there are others the next time
      room_of_task.assign(std::size_t(num_tasks), not_done);
      is_taken.assign(std::size_t(rooms), 0);
      return rooms;
    }
  };

  /// Of no task.
  OrderedResults() = default;
  explicit OrderedResults(Memory& memory) : memory_(&memory) {}

  /// \brief Calls compute(room), then take(task, room) for all results whose turn has come: maybe
  /// this one, maybe not. When all tasks have been run, all results have been taken.
  ///
  /// A task that throws has no result.
  template <class Compute, class Take>
  void run(Index task, Index worker, Compute&& compute, Take&& take) {
    const Index room = free_room(worker);
    try {
      compute(room);
    } catch (...) {
      finish(task, room, false, take);
      throw;
    }
    finish(task, room, true, take);
  }

 private:
  static constexpr Index not_done = -1, no_result = -2;

  Index free_room(Index worker) {
    auto& is_taken = memory_->is_taken;
    const Index each = is_taken.size() == 1 ? 1 : rooms_per_worker;
    for (;; std::this_thread::yield()) {
      const std::lock_guard lock(mutex_);
      for (Index room = worker * each; room < (worker + 1) * each; ++room)
        if (!is_taken[std::size_t(room)]) {
          is_taken[std::size_t(room)] = 1;
          return room;
        }
    }
  }

  /// One thread at a time takes results; what others finish meanwhile it takes as well.
  template <class Take>
  void finish(Index task, Index room, bool has_result, Take& take) {
    std::unique_lock lock(mutex_);
    memory_->room_of_task[std::size_t(task)] = has_result ? room : no_result;
    if (!has_result) memory_->is_taken[std::size_t(room)] = 0;
    if (is_taking_) return;
    is_taking_ = true;
    for (; next_ < memory_->room_of_task.size(); ++next_) {
      const Index ready = memory_->room_of_task[next_];
      if (ready == not_done) break;
      if (ready == no_result) continue;
      lock.unlock();
      take(Index(next_), ready);
      lock.lock();
      memory_->is_taken[std::size_t(ready)] = 0;
    }
    is_taking_ = false;
  }

  Memory* memory_ = nullptr;
  std::mutex mutex_;
  std::size_t next_ = 0;  // whose turn it is
  bool is_taking_ = false;
};

}  // namespace comet::detail
