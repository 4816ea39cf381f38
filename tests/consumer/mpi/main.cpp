// SPDX-License-Identifier: MIT
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/mpi_communicator.hpp>

int main(int argc, char** argv) {
  return comet::run_mpi(argc, argv, [](comet::MpiCommunicator& world) {
    return comet::sum_over_ranks(world, comet::Index(1)) == world.size() ? 0 : 1;
  });
}
