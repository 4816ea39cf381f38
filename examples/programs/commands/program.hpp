// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace CLI {
class App;
}

namespace programs {

/// The manners of all programs: a sub-command, plain help, a version. Before the commands are
/// added.
void start_program(CLI::App& program);

/// \brief Reads the arguments and does what they ask for; says in one line what went wrong.
/// \return the exit status: 0, 2 for bad options or data, 130 if interrupted, 1 for anything else
int run_program(CLI::App& program, int argc, const char* const* argv, const Console& console);

/// \brief What main() does: runs a program with the standard streams, alone or as one of the ranks
/// that mpirun has started, of which rank 0 speaks.
/// \return the exit status
int run_main(int argc, char** argv, int (*run)(int, const char* const*, const Console&));

}  // namespace programs
