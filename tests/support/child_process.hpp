// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <utility>

namespace comet::test {

/// \brief Work as a process of its own, to be ended at any moment. Ends with the test.
class ChildProcess {
 public:
  /// \param work  gives the exit code
  template <class Work>
  explicit ChildProcess(Work work) : pid_(::fork()) {
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) ::_exit(work());
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    if (pid_ > 0) (void)end(SIGKILL);
  }

  void signal(int number) const { ::kill(pid_, number); }

  /// \return the exit code, or -1 if a signal ended it
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int end(int number) {
    signal(number);
    return wait();
  }

 private:
  pid_t pid_;
};

}  // namespace comet::test
