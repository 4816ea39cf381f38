// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include <programs/base/ranks.hpp>

/// \file
/// \brief Processes that mpirun has started, where a program was built with an MPI: mpi.cpp is in
/// it then, and no_mpi.cpp else.

namespace programs {

/// "Open MPI v4.1.4"; empty if the program was built without.
[[nodiscard]] std::string mpi_version();

/// \brief Runs main(ranks), ranks being null of a process that mpirun has not started, or not with
/// others. MPI is left alone then: it would take its time.
/// \return what main has returned; 2 after a line on standard error if mpirun has started several
///         processes of a program that was built without MPI
int run_among_ranks(int& argc, char**& argv, const std::function<int(Ranks*)>& main);

}  // namespace programs
