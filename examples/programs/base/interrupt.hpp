// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>
#include <stdexcept>
#include <string>

namespace programs {

/// \brief While it lives, Ctrl-C and SIGTERM ask for an orderly end. The second of a kind ends the
/// program at once.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

 private:
  struct sigaction interrupt_ {};  // what was there before
  struct sigaction terminate_ {};
};

/// Whether an orderly end has been asked for since the guard was made.
[[nodiscard]] bool is_interrupted() noexcept;

/// \brief An orderly end that was asked for: what to do to go on, in one line.
class Interrupted : public std::runtime_error {
 public:
  explicit Interrupted(const std::string& advice) : std::runtime_error("interrupted; " + advice) {}
};

}  // namespace programs
