// SPDX-License-Identifier: MIT
#include <programs/commands/mpi.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace programs {
namespace {

/// What mpirun tells a process that it starts; null if it says nothing.
const char* told(const char* by_open_mpi, const char* by_mpich) {
  const char* text = std::getenv(by_open_mpi);
  return text != nullptr ? text : std::getenv(by_mpich);
}

}  // namespace

std::string mpi_version() { return {}; }

int run_among_ranks(int& /*argc*/, char**& argv, const std::function<int(Ranks*)>& main) {
  const char* size = told("OMPI_COMM_WORLD_SIZE", "PMI_SIZE");
  if (size == nullptr || std::string_view(size) == "1") return main(nullptr);
  const char* rank = told("OMPI_COMM_WORLD_RANK", "PMI_RANK");
  if (rank == nullptr || std::string_view(rank) == "0")
    std::fprintf(stderr, "%s: mpirun has started %s processes, and MPI is not built in\n", argv[0],
                 size);
  return 2;
}

}  // namespace programs
