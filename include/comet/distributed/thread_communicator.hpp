// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/communicator.hpp>

namespace comet {

/// Settings of ranks that are threads.
struct ThreadRanksOptions {
  double time_limit = 60;  ///< seconds that a call waits for others, > 0
};

namespace detail {

/// \brief Where the ranks of a process meet: a call begins when all have arrived at it, and ends
/// when all are through. In between they read each other's memory.
class ThreadMeeting {
 public:
  /// What a rank brings along; the others read it while the call lasts.
  struct Call {
    const char* name = nullptr;
    Index number = 0;  // item size or root: the same for all
    std::span<const std::byte> out = {};
    std::span<const Index> counts = {};
  };

  ThreadMeeting(Index size, double time_limit)
      : time_limit_(time_limit), calls_(std::size_t(size)), states_(std::size_t(size)) {}

  [[nodiscard]] Index size() const noexcept { return Index(calls_.size()); }
  [[nodiscard]] double time_limit() const noexcept { return time_limit_; }
  [[nodiscard]] const Call& call_of(Index rank) const { return calls_[std::size_t(rank)]; }

  /// Runs read() while every rank is in the same call.
  template <class Read>
  void meet(Index rank, const Call& call, Read read) {
    arrive(rank, call);
    std::exception_ptr failure;
    try {
      read();
    } catch (...) {
      failure = std::current_exception();
    }
    leave();
    if (failure) std::rethrow_exception(failure);
  }

  /// The rank makes no further call, by an error or because it is done.
  void end(Index rank, const std::exception_ptr& error) {
    const std::lock_guard lock(mutex_);
    states_[std::size_t(rank)] = State::ended;
    if (error && !first_error_) {
      first_error_ = error;
      failure_ = "rank " + std::to_string(rank) + " has failed";
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& each) {
        failure_ += std::string(": ") + each.what();
      } catch (...) {
      }
    } else if (failure_.empty() && size() > 1) {
      failure_ = "rank " + std::to_string(rank) + " has come to its end";
    }
    changed_.notify_all();
  }
  /// The error that came first, if there was one.
  [[nodiscard]] std::exception_ptr first_error() const { return first_error_; }

 private:
  enum class State { away, arrived, ended };

  [[noreturn]] static void raise(Index rank, const Call& call, const std::string& what) {
    throw CommunicationError("ThreadCommunicator::" + std::string(call.name), rank, what);
  }
  [[nodiscard]] std::string absent() const {
    std::string text;
    for (std::size_t r = 0; r < states_.size(); ++r)
      if (states_[r] != State::arrived) text += (text.empty() ? "rank " : ", ") + std::to_string(r);
    return text;
  }

  void arrive(Index rank, const Call& call) {
    std::unique_lock lock(mutex_);
    if (!failure_.empty()) raise(rank, call, "does not get through: " + failure_);
    calls_[std::size_t(rank)] = call;
    states_[std::size_t(rank)] = State::arrived;
    const std::uint64_t mine = meetings_;
    if (++arrived_ == size()) return open(rank);
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(time_limit_);
    while (meetings_ == mine && failure_.empty())
      if (changed_.wait_until(lock, until) == std::cv_status::timeout && meetings_ == mine &&
          failure_.empty()) {
        std::ostringstream text;
        text << "has waited " << time_limit_ << " seconds, the time limit, for " << absent();
        failure_ = "rank " + std::to_string(rank) + ' ' + text.str();
        changed_.notify_all();
        raise(rank, call, text.str());
      }
    if (meetings_ == mine) raise(rank, call, "does not get through: " + failure_);
  }
  /// The last one to arrive looks whether all are in the same call.
  void open(Index rank) {
    for (Index r = 0; r < size(); ++r) {
      const Call &here = calls_[std::size_t(rank)], &there = calls_[std::size_t(r)];
      if (std::string_view(here.name) == there.name && here.number == there.number) continue;
      const auto text = [](const Call& call) {
        return std::string(call.name) + " (" + std::to_string(call.number) + ')';
      };
      failure_ = "rank " + std::to_string(rank) + " is in " + text(here) + ", rank " +
                 std::to_string(r) + " in " + text(there);
      changed_.notify_all();
      raise(rank, here, "does not get through: " + failure_);
    }
    arrived_ = 0;
    inside_ = size();
    std::fill(states_.begin(), states_.end(), State::away);
    ++meetings_;
    changed_.notify_all();
  }
  /// Whoever is in reads what is the others': nobody goes before all have, be there a failure or
  /// not. It is a copy of memory that they wait for, so it takes no time limit.
  void leave() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = meetings_;
    if (--inside_ == 0) {
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return inside_ == 0 || meetings_ != mine; });
  }

  const double time_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;
  std::vector<State> states_;
  Index arrived_ = 0;
  Index inside_ = 0;
  std::uint64_t meetings_ = 0;
  std::string failure_;  // empty as long as all is well
  std::exception_ptr first_error_;
};

}  // namespace detail

/// \brief A rank that is a thread of this process; run_ranks() makes them. Needs nothing but the
/// standard library: for tests, and to run what is written for many machines on one.
///
/// A rank that throws, ends before the others or is in another call than they are ends the others
/// with CommunicationError at once; one that is late ends them after the time limit.
///
/// \par Threads  one thread a rank; within it a ThreadPool as everywhere
class ThreadCommunicator {
 public:
  /// For run_ranks(). \param meeting  shared by all ranks    \param rank  this one's
  ThreadCommunicator(std::shared_ptr<detail::ThreadMeeting> meeting, Index rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  /// Number of this rank.
  [[nodiscard]] Index rank() const noexcept { return rank_; }
  /// Number of ranks.
  [[nodiscard]] Index size() const noexcept { return meeting_->size(); }
  /// Seconds that a call waits for others.
  [[nodiscard]] double time_limit() const noexcept { return meeting_->time_limit(); }

  /// \brief A piece for each rank goes out, one from each comes in. \see Communicator
  /// \throws std::invalid_argument if a size does not fit, or another rank sends another count
  void all_to_all(std::span<const std::byte> out, std::span<const Index> out_counts,
                  std::span<std::byte> in, std::span<const Index> in_counts, Index item_size) {
    constexpr const char* where = "ThreadCommunicator::all_to_all";
    detail::check_all_to_all(where, size(), out, out_counts, in, in_counts, item_size);
    meeting_->meet(rank_, {"all_to_all", item_size, out, out_counts}, [&] {
      std::byte* to = in.data();
      for (Index r = 0; r < size(); ++r) {
        const auto& other = meeting_->call_of(r);
        const Index count = in_counts[std::size_t(r)];
        detail::check_equal(where, "in_counts[" + std::to_string(r) + "]", count,
                            "what rank " + std::to_string(r) + " sends",
                            other.counts[std::size_t(rank_)]);
        Index begin = 0;
        for (Index before = 0; before < rank_; ++before) begin += other.counts[std::size_t(before)];
        to = std::copy_n(other.out.data() + begin * item_size, count * item_size, to);
      }
    });
  }
  /// \brief Everyone receives what everyone has. \see Communicator
  /// \throws std::invalid_argument if a size does not fit, or another rank has another count
  void all_gather(std::span<const std::byte> out, std::span<const Index> counts,
                  std::span<std::byte> in, Index item_size) {
    constexpr const char* where = "ThreadCommunicator::all_gather";
    detail::check_all_gather(where, rank_, size(), out, counts, in, item_size);
    meeting_->meet(rank_, {"all_gather", item_size, out, counts}, [&] {
      std::byte* to = in.data();
      for (Index r = 0; r < size(); ++r) {
        const auto& other = meeting_->call_of(r).out;
        detail::check_equal(where, "item_size * counts[" + std::to_string(r) + "]",
                            item_size * counts[std::size_t(r)],
                            "what rank " + std::to_string(r) + " has", Index(other.size()));
        to = std::copy(other.begin(), other.end(), to);
      }
    });
  }
  /// \brief Everyone receives what root has. \see Communicator
  /// \throws std::invalid_argument if root is no rank, or has another size
  void broadcast(std::span<std::byte> bytes, Index root) {
    constexpr const char* where = "ThreadCommunicator::broadcast";
    detail::check_root(where, root, size());
    meeting_->meet(rank_, {"broadcast", root, bytes, {}}, [&] {
      const auto& other = meeting_->call_of(root).out;
      detail::check_equal(where, "bytes.size()", Index(bytes.size()), "that of root",
                          Index(other.size()));
      if (rank_ != root) std::copy(other.begin(), other.end(), bytes.begin());
    });
  }
  /// \brief Returns when every rank has called it. \see Communicator
  void barrier() {
    meeting_->meet(rank_, {"barrier", 0, {}, {}}, [] {});
  }

 private:
  std::shared_ptr<detail::ThreadMeeting> meeting_;
  Index rank_;
};

/// \brief Runs f(world) in as many threads as there are to be ranks, world being a
/// ThreadCommunicator& of the thread's own, and returns when all have ended. Rank 0 is the calling
/// thread.
///
/// \code
///   run_ranks(4, [&](ThreadCommunicator& world) {
///     DistributedMoeLayer layer(world, gate, make_experts<Expert>(...));
///     ...
///   });
/// \endcode
/// \param num_ranks  >= 1
/// \throws what the first rank that failed has thrown; the others end by it
/// \throws std::invalid_argument if a number is outside its bounds
/// \throws std::system_error if the system does not give so many threads
template <class F>
void run_ranks(Index num_ranks, F&& f, ThreadRanksOptions options = {}) {
  detail::check_at_least("run_ranks", "num_ranks", num_ranks, 1);
  detail::check_positive("run_ranks", "time_limit", options.time_limit);
  const auto meeting = std::make_shared<detail::ThreadMeeting>(num_ranks, options.time_limit);
  const auto run = [&](Index rank) {
    ThreadCommunicator world(meeting, rank);
    std::exception_ptr error;
    try {
      f(world);
    } catch (...) {
      error = std::current_exception();
    }
    meeting->end(rank, error);
  };
  std::vector<std::thread> threads;
  try {
    for (Index rank = 1; rank < num_ranks; ++rank) threads.emplace_back(run, rank);
    run(0);
  } catch (...) {  // a thread that did not start
    meeting->end(0, std::current_exception());
  }
  for (auto& thread : threads) thread.join();
  if (const auto error = meeting->first_error()) std::rethrow_exception(error);
}

}  // namespace comet
