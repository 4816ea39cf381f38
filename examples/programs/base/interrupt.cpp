// SPDX-License-Identifier: MIT
#include <programs/base/interrupt.hpp>

#include <atomic>

namespace programs {
namespace {

std::atomic<int> asked = 0;  // ranks may be threads
static_assert(std::atomic<int>::is_always_lock_free, "a signal may come at any moment");

void ask(int /*signal*/) { asked = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  asked = 0;
  struct sigaction action {};
  action.sa_handler = ask;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  asked = 0;
}

bool is_interrupted() noexcept { return asked != 0; }

}  // namespace programs
