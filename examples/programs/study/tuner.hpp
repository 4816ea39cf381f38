// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <programs/base/console.hpp>
#include <programs/base/json.hpp>
#include <programs/study/search_space.hpp>
#include <programs/study/trials.hpp>
#include <programs/training/reports.hpp>

namespace programs {

/// \brief What a tuner trains: it knows options by their names alone, and nothing of data.
/// \par Threads  concurrent calls are safe
class Trainee {
 public:
  virtual ~Trainee() = default;

  /// Of the data.
  [[nodiscard]] virtual std::string source() const = 0;
  /// A fingerprint of them.
  [[nodiscard]] virtual std::string content() const = 0;
  /// \brief All options that the figures depend on, for a training with these instead of defaults.
  /// \throws std::invalid_argument for those that a training on the data cannot have
  [[nodiscard]] virtual Json options_with(const Json& changes) const = 0;
  /// \param out  the directory of the training
  /// \throws Diverged if it does
  [[nodiscard]] virtual TrainingResult train(const Json& changes,
                                             const std::filesystem::path& out) const = 0;
};

struct TunerOptions {
  std::filesystem::path folder;
  int trials = 100;
  int parallel = 1;  ///< trials at once
  int epochs = 6;    ///< of a trial, as far as halving goes by them
  bool halving = false;
  bool resume = false;
  bool quiet = false;
  std::int64_t seed = 1;        ///< trial i is a function of it and i
  std::int64_t split_seed = 1;  ///< the same for all trials
};

/// What a search writes in its folder, beside those of its trials.
inline constexpr const char* search_files[] = {"trials.jsonl", "summary.md", "summary.json",
                                               "space.json"};

/// Of a trial, in the folder of a search.
[[nodiscard]] std::filesystem::path trial_folder(const std::filesystem::path& folder, int trial);

/// \brief Searches hyper-parameters at random, in a folder: knows which of its trials are done, and
/// the threads and processes that work on the others.
///
/// The folder gets trials.jsonl, a line per finished trial; summary.md, summary.json and
/// space.json; and a folder per trial below trials/. It survives a crash at any moment, and several
/// processes may work on it.
class Tuner {
 public:
  /// Nothing of it is owned.
  Tuner(const TunerOptions& options, const SearchSpace& space, const Trainee& trainee,
        const Console& console)
      : options_(options), space_(space), trainee_(trainee), console_(console) {}

  /// \brief Makes the folder, if nothing speaks against the search: first of all, so that what is
  /// refused leaves no trace.
  /// \throws FileError if the folder holds another search, or cannot be written
  /// \throws std::invalid_argument if there is a trial that cannot be trained
  void prepare();

  /// \brief Trains what is not trained yet. After prepare().
  /// \throws FileError if the folder cannot be written, or has come to hold another search
  /// \throws Interrupted if an orderly end was asked for
  void run();

 private:
  using Clock = std::chrono::steady_clock;

  /// One training of a search: a trial, or what successive halving lets it have at first.
  struct Job {
    int trial = 0;
    std::optional<int> rung;
    Json changes;  // of the options
  };

  [[nodiscard]] int rungs() const;
  [[nodiscard]] Job job(int trial, std::optional<int> rung, int rungs) const;
  [[nodiscard]] std::vector<int> better_half(std::vector<Job> jobs) const;
  void run(const std::vector<Job>& jobs);
  void work(const std::vector<Job>& jobs);
  void try_job(const Job& job, bool wait, const std::vector<Job>& jobs);
  [[nodiscard]] Trial train(const Job& job, const std::filesystem::path& out) const;
  [[nodiscard]] const Trial* find(const Job& job) const;
  void read_finished();
  void expect_same(const Trial& trial) const;
  void show(const Trial& trial, const std::vector<Job>& jobs) const;
  void summarise() const;

  [[nodiscard]] std::filesystem::path log() const { return options_.folder / "trials.jsonl"; }

  const TunerOptions& options_;
  const SearchSpace& space_;
  const Trainee& trainee_;
  const Console& console_;

  std::mutex mutex_;              // guards all below
  std::vector<Trial> finished_;   // by all processes
  std::uintmax_t read_size_ = 0;  // of the file they come from, when it was read
  std::exception_ptr failure_;
  std::size_t trained_here_ = 0;  // of the present list of jobs
  Clock::time_point start_;
};

}  // namespace programs
