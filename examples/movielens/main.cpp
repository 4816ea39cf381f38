// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <iostream>

#include <movielens/program.hpp>

int main(int argc, char** argv) {
  return movielens::run(
      argc, argv,
      {.out = std::cout, .err = std::cerr, .err_is_terminal = ::isatty(STDERR_FILENO) == 1});
}
