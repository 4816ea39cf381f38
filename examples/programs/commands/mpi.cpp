// SPDX-License-Identifier: MIT
#include <programs/commands/mpi.hpp>

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <comet/distributed/mpi_communicator.hpp>

namespace programs {
namespace {

using comet::Index;

/// Every mpirun tells the processes that it starts about itself.
bool is_started_by_mpirun() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

/// \brief Processes under MPI. One that fails asks the others, beside their messages, whether they
/// have failed too: all do where options are wrong, one alone does where its disk is full.
class MpiRanks : public RanksOf<comet::MpiCommunicator> {
 public:
  explicit MpiRanks(comet::MpiCommunicator& world) : RanksOf(world) {
    MPI_Comm_dup(MPI_COMM_WORLD, &failures_);
    MPI_Comm here = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    int number = 1;
    MPI_Comm_size(here, &number);
    size_here_ = number;
    MPI_Comm_free(&here);
  }

  [[nodiscard]] Index size_here() const override { return size_here_; }

  void fail(int code, const std::string& line) override {
    if (all_have_failed()) return;
    std::fprintf(stderr, "%s\n", line.c_str());
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, code);
  }

 private:
  /// Waits for the others as long as ranks may be apart that fail for the same reason.
  [[nodiscard]] bool all_have_failed() const {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::seconds(2);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(failures_, &request);
    for (int done = 0; Clock::now() < until;) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done != 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  MPI_Comm failures_ = MPI_COMM_NULL;
  Index size_here_ = 1;
};

}  // namespace

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string all(text, static_cast<std::size_t>(length));
  std::replace(all.begin(), all.end(), '\t', ' ');  // MPICH writes a table
  return all.substr(0, all.find_first_of(",\n"));
}

int run_among_ranks(int& argc, char**& argv, const std::function<int(Ranks*)>& main) {
  if (!is_started_by_mpirun()) return main(nullptr);
  return comet::run_mpi(argc, argv, [&](comet::MpiCommunicator& world) {
    if (world.size() == 1) return main(nullptr);
    MpiRanks ranks(world);
    return main(&ranks);
  });
}

}  // namespace programs
