// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <two_pictures/commands/program.hpp>

int main(int argc, char** argv) {
  return programs::run_main(argc, argv, programs::two_pictures::run);
}
