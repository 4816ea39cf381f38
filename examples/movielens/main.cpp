// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <movielens/commands/program.hpp>

int main(int argc, char** argv) { return programs::run_main(argc, argv, programs::movielens::run); }
