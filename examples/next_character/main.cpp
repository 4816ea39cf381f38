// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <next_character/commands/program.hpp>

int main(int argc, char** argv) {
  return programs::run_main(argc, argv, programs::next_character::run);
}
