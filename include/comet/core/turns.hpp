// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <thread>

#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief Lets the tasks 0, 1, 2 ... of a ThreadPool do a part of their work one after the other,
/// whoever runs them: sums over tasks then have one order.
///
/// Tasks are claimed in ascending order, so that those a task waits for are running or done.
class Turns {
 public:
  /// \brief The turn of a task, which ends with it: also if the task throws.
  class Turn {
   public:
    Turn(Turns& turns, Index task) : turns_(&turns), task_(task) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      wait();
      turns_->next_.store(task_ + 1, std::memory_order_release);
    }

    /// Returns when all tasks before this one are done.
    void wait() const {
      while (turns_->next_.load(std::memory_order_acquire) != task_) std::this_thread::yield();
    }

   private:
    Turns* turns_;
    Index task_;
  };

 private:
  std::atomic<Index> next_{0};
};

}  // namespace comet::detail
