// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace comet::detail {

/// Objects that are lent and come back when nobody holds them: passes and gradients, whose memory
/// is worth keeping from one step to the next. They come back from any thread.
template <class T>
class Reused {
 public:
  /// One that is idle, as it was left, or a new one.
  template <class Make>
  std::shared_ptr<T> take(Make make) {
    std::unique_ptr<T> found;
    {
      const std::lock_guard lock(idle_->mutex);
      if (!idle_->objects.empty()) {
        found = std::move(idle_->objects.back());
        idle_->objects.pop_back();
      }
    }
    if (!found) found = std::make_unique<T>(make());
    // The list outlives its owner as long as one of its objects is out.
    return {found.release(), [idle = idle_](T* object) {
              std::unique_ptr<T> returned(object);
              const std::lock_guard lock(idle->mutex);
              idle->objects.push_back(std::move(returned));
            }};
  }

 private:
  struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<T>> objects;
  };
  std::shared_ptr<Idle> idle_ = std::make_shared<Idle>();
};

}  // namespace comet::detail
