// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <bert/commands/program.hpp>

int main(int argc, char** argv) { return programs::run_main(argc, argv, programs::bert::run); }
