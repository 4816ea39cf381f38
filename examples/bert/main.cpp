// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <csignal>
#include <iostream>

#include <bert/commands/program.hpp>

int main(int argc, char** argv) {
  // A reader that goes away (`| head`) is a failed write, not the end of a training.
  std::signal(SIGPIPE, SIG_IGN);
  return programs::bert::run(
      argc, argv,
      {.out = std::cout, .err = std::cerr, .err_is_terminal = ::isatty(STDERR_FILENO) == 1});
}
