// SPDX-License-Identifier: MIT
#pragma once

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <limits>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

/// \file
/// \brief Ranks that are processes, on one machine or many, over MPI (OpenMPI or MPICH). Not in
/// comet.hpp: include it where it is used, and link the CMake target comet::mpi.

namespace comet {

/// Settings of an MpiCommunicator.
struct MpiOptions {
  double time_limit = 600;                 ///< seconds that a call waits for others, > 0
  Index largest_message = Index(1) << 30;  ///< bytes: larger pieces go in several; 1 to 2^31 - 1
};

/// \brief A rank that is a process under MPI.
///
/// MPI counts in int, a communicator does not: what is larger than a message may be is sent in
/// several. Calls do not block inside MPI but ask it again and again whether they are done, so that
/// one that waits too long for others ends by CommunicationError instead of hanging. What it was
/// about to send or receive is then in an unknown state: end the program, as run_mpi() does.
///
/// \par Threads  the thread that has initialised MPI calls, and no other
/// \see run_mpi, which initialises and ends MPI
class MpiCommunicator {
 public:
  /// \param communicator  is duplicated: messages of others do not get in between
  /// \throws std::invalid_argument if MPI is not initialised, or an option is outside its bounds
  explicit MpiCommunicator(MPI_Comm communicator = MPI_COMM_WORLD, MpiOptions options = {})
      : options_(options) {
    constexpr const char* where = "MpiCommunicator";
    detail::check_positive(where, "time_limit", options.time_limit);
    detail::check_at_least(where, "largest_message", options.largest_message, 1);
    detail::check_at_most(where, "largest_message", options.largest_message, "the largest int",
                          std::numeric_limits<int>::max());
    int initialised = 0;
    MPI_Initialized(&initialised);
    if (initialised == 0) detail::raise(where, "MPI is not initialised; run_mpi() does that");
    MPI_Comm_dup(communicator, &communicator_);
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
    int number = 0;
    MPI_Comm_rank(communicator_, &number);
    rank_ = number;
    MPI_Comm_size(communicator_, &number);
    size_ = number;
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;
  ~MpiCommunicator() {
    int ended = 0;
    MPI_Finalized(&ended);
    // To free it is a call of all ranks, which after an error may never come together again.
    if (ended == 0 && !failed_ && std::uncaught_exceptions() == 0) MPI_Comm_free(&communicator_);
  }

  /// Number of this rank.
  [[nodiscard]] Index rank() const noexcept { return rank_; }
  /// Number of ranks.
  [[nodiscard]] Index size() const noexcept { return size_; }
  /// Seconds that a call waits for others.
  [[nodiscard]] double time_limit() const noexcept { return options_.time_limit; }

  /// \brief A piece for each rank goes out, one from each comes in. \see Communicator
  /// \throws std::invalid_argument if a size does not fit
  /// \throws CommunicationError if another rank sends another count, or does not take part in time
  void all_to_all(std::span<const std::byte> out, std::span<const Index> out_counts,
                  std::span<std::byte> in, std::span<const Index> in_counts, Index item_size) {
    constexpr const char* where = "MpiCommunicator::all_to_all";
    detail::check_all_to_all(where, size_, out, out_counts, in, in_counts, item_size);
    begin(where);
    Index at = 0;
    for (Index r = 0; r < size_; ++r) {
      const Index bytes = item_size * in_counts[std::size_t(r)];
      if (r != rank_) receive(in.data() + at, bytes, r);
      at += bytes;
    }
    at = 0;
    for (Index r = 0; r < size_; ++r) {
      const Index bytes = item_size * out_counts[std::size_t(r)];
      if (r == rank_) {
        keep(out.subspan(std::size_t(at), std::size_t(bytes)), in, in_counts, item_size);
      } else {
        send(out.data() + at, bytes, r);
      }
      at += bytes;
    }
    finish();
  }
  /// \brief Everyone receives what everyone has. \see Communicator
  /// \throws std::invalid_argument if a size does not fit
  /// \throws CommunicationError if another rank has another count, or does not take part in time
  void all_gather(std::span<const std::byte> out, std::span<const Index> counts,
                  std::span<std::byte> in, Index item_size) {
    constexpr const char* where = "MpiCommunicator::all_gather";
    detail::check_all_gather(where, rank_, size_, out, counts, in, item_size);
    begin(where);
    Index at = 0;
    for (Index r = 0; r < size_; ++r) {
      const Index bytes = item_size * counts[std::size_t(r)];
      if (r != rank_) receive(in.data() + at, bytes, r);
      at += bytes;
    }
    for (Index r = 0; r < size_; ++r)
      if (r != rank_) send(out.data(), Index(out.size()), r);
    keep(out, in, counts, item_size);
    finish();
  }
  /// \brief Everyone receives what root has. \see Communicator
  /// \throws std::invalid_argument if root is no rank
  /// \throws CommunicationError if another rank does not take part in time
  void broadcast(std::span<std::byte> bytes, Index root) {
    constexpr const char* where = "MpiCommunicator::broadcast";
    detail::check_root(where, root, size_);
    begin(where);
    for_each_message(Index(bytes.size()), [&](Index first, int count) {
      check(MPI_Ibcast(bytes.data() + first, count, MPI_BYTE, int(root), communicator_, request()));
      finish();
    });
  }
  /// \brief Returns when every rank has called it. \see Communicator
  /// \throws CommunicationError if another rank does not take part in time
  void barrier() {
    begin("MpiCommunicator::barrier");
    check(MPI_Ibarrier(communicator_, request()));
    finish();
  }

 private:
  static constexpr int tag = 0;  // messages of a pair of ranks do not overtake each other

  [[noreturn]] void fail(const std::string& what) {
    failed_ = true;
    throw CommunicationError(where_, rank_, what);
  }
  void check(int code) {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    fail("has an error of MPI: " + std::string(text, std::size_t(length)));
  }
  /// The same of a call about many requests, which names its errors one by one.
  void check_all(int code) {
    int kind = MPI_SUCCESS;
    MPI_Error_class(code, &kind);
    if (kind == MPI_ERR_IN_STATUS)
      for (const MPI_Status& status : statuses_)
        if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR);
    check(code);
  }

  void begin(const char* where) {
    where_ = where;
    if (failed_) fail("does not get through: an earlier call has failed");
    requests_.clear();
    received_.clear();
  }
  MPI_Request* request() { return &requests_.emplace_back(MPI_REQUEST_NULL); }

  /// f(first, count) for every message that so many bytes take.
  template <class F>
  void for_each_message(Index bytes, F f) const {
    for (Index first = 0; first < bytes; first += options_.largest_message)
      f(first, int(std::min(options_.largest_message, bytes - first)));
  }
  void receive(std::byte* to, Index bytes, Index from) {
    for_each_message(bytes, [&](Index first, int count) {
      check(MPI_Irecv(to + first, count, MPI_BYTE, int(from), tag, communicator_, request()));
      received_.emplace_back(from, count);
    });
  }
  void send(const std::byte* from, Index bytes, Index to) {
    for_each_message(bytes, [&](Index first, int count) {
      check(MPI_Isend(from + first, count, MPI_BYTE, int(to), tag, communicator_, request()));
    });
  }
  /// What a rank sends to itself.
  void keep(std::span<const std::byte> own, std::span<std::byte> in,
            std::span<const Index> in_counts, Index item_size) {
    Index at = 0;
    for (Index r = 0; r < rank_; ++r) at += item_size * in_counts[std::size_t(r)];
    if (Index(own.size()) != item_size * in_counts[std::size_t(rank_)])
      fail("sends itself " + std::to_string(own.size()) + " bytes and expects " +
           std::to_string(item_size * in_counts[std::size_t(rank_)]));
    std::copy(own.begin(), own.end(), in.begin() + at);
  }

  /// Waits for all that has begun. MPI is asked at once, then after pauses that grow to some tens
  /// of microseconds: more ranks than cores get along, too.
  void finish() {
    using Clock = std::chrono::steady_clock;
    statuses_.resize(requests_.size());
    const auto until = Clock::now() + std::chrono::duration<double>(options_.time_limit);
    for (int asked = 0;; ++asked) {
      int done = 0;
      check_all(MPI_Testall(int(requests_.size()), requests_.data(), &done, statuses_.data()));
      if (done != 0) break;
      if (asked < 1000) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(std::min(asked / 100, 50)));
      }
      if (asked % 64 == 63 && Clock::now() > until) give_up();
    }
    for (std::size_t i = 0; i < received_.size(); ++i) {
      int count = 0;
      check(MPI_Get_count(&statuses_[i], MPI_BYTE, &count));
      if (count != received_[i].second)
        fail("has got " + std::to_string(count) + " bytes from rank " +
             std::to_string(received_[i].first) + " and expects " +
             std::to_string(received_[i].second));
    }
    requests_.clear();
    received_.clear();
  }
  [[noreturn]] void give_up() {
    std::string late;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      // Only receives can be taken back; they come first.
      if (i >= received_.size()) break;
      MPI_Cancel(&requests_[i]);
      const std::string name = std::to_string(received_[i].first);
      if (late.empty()) late = ", for rank " + name;
    }
    std::ostringstream text;
    text << "has waited " << options_.time_limit << " seconds, the time limit" << late;
    fail(text.str());
  }

  MpiOptions options_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  Index rank_ = 0;
  Index size_ = 1;
  bool failed_ = false;
  const char* where_ = "MpiCommunicator";        // the call at hand
  std::vector<MPI_Request> requests_;            // of it: first those that receive
  std::vector<MPI_Status> statuses_;             // likewise
  std::vector<std::pair<Index, int>> received_;  // rank and bytes of each that receives
};

/// \brief The main function of a program under MPI: initialises MPI, runs f(world), world being a
/// MpiCommunicator& of all processes, and ends MPI. An exception on any rank is printed and ends
/// all ranks: none hangs.
///
/// \code
///   int main(int argc, char** argv) {
///     return run_mpi(argc, argv, [&](MpiCommunicator& world) { ... });
///   }
/// \endcode
/// Started by `mpirun -n 4 program`; started by itself it is one rank.
/// \param f  returns nothing, or the exit code
/// \return what f has returned, or 0
template <class F>
int run_mpi(int& argc, char**& argv, F&& f, MpiOptions options = {}) {
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  // What MPI does not know the communicator of, it reports to one of these.
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  int code = 0;
  const auto abort = [](const char* what) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    std::fprintf(stderr, "rank %d: %s\n", rank, what);
    std::fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
  };
  try {
    MpiCommunicator world(MPI_COMM_WORLD, options);
    if constexpr (std::is_void_v<std::invoke_result_t<F&, MpiCommunicator&>>) {
      f(world);
    } else {
      code = f(world);
    }
  } catch (const std::exception& error) {
    abort(error.what());
  } catch (...) {
    abort("an unknown error");
  }
  MPI_Finalize();
  return code;
}

}  // namespace comet
