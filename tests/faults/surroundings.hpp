// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <support/arguments.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

/// \file
/// \brief The real program, run as a user runs it, in surroundings that fail.

namespace programs::movielens::test {

using comet::test::content_of;
using comet::test::TemporaryDirectory;

using Place = TemporaryDirectory;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool is_sanitized = true;
#elif defined(__has_feature)
inline constexpr bool is_sanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool is_sanitized = false;
#endif

using Arguments = std::vector<std::string>;

/// Where the program lies beside the tests; the file may be missing if only tests were built.
inline std::filesystem::path program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "movielens";
}

inline bool is_built() {
  if (std::filesystem::exists(program())) return true;
  WARN("the program is not built: skipped");
  return false;
}

struct Outcome {
  int code = -1;  // 128 + signal if one ended it
  std::string err;
};

/// What a child does to itself, in the place, before the program starts.
using Preparation = std::function<void(const std::string& place)>;
/// What happens to it from outside while it runs.
using Event = std::function<void(pid_t child)>;

inline constexpr int no_start = 99;
inline constexpr int not_possible_here = 98;

inline Outcome run(
    const Place& directory, const Arguments& arguments,
    const Preparation& prepare = [](const std::string&) {}, const Event& meanwhile = [](pid_t) {}) {
  const std::string place = directory.path().string();
  const std::string file = program().string();
  std::vector<char*> argv = {const_cast<char*>(file.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int err[2];  // a pipe, which a full disk does not fill
  REQUIRE(::pipe2(err, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    if (::chdir(place.c_str()) != 0 || nowhere < 0) ::_exit(no_start);
    ::dup2(err[1], STDERR_FILENO);
    ::dup2(nowhere, STDOUT_FILENO);
    ::setenv("PATH", (place + "/bin").c_str(), 1);  // of a gnuplot that does nothing
    prepare(place);
    ::execv(file.c_str(), argv.data());
    ::_exit(no_start);
  }
  ::close(err[1]);
  meanwhile(child);
  Outcome outcome;
  char text[4096];
  for (ssize_t count = 0; (count = ::read(err[0], text, sizeof text)) > 0;)
    outcome.err.append(text, static_cast<std::size_t>(count));
  ::close(err[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

inline bool has_ended(pid_t child) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == child;
}

inline void nothing(const std::string& /*place*/) {}

/// The counts of a coverage build would not survive the limits, and complain of them.
inline void count_no_lines(const std::string& place) {
  ::setenv("GCOV_PREFIX", (place + "/counts").c_str(), 1);
  ::setenv("GCOV_ERROR_FILE", "/dev/null", 1);
}

/// Files end after so many bytes, as on a disk that is full.
inline Preparation full_disk(rlim_t bytes) {
  return [bytes](const std::string& place) {
    count_no_lines(place);
    const rlimit limit = {bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
}

/// The place is mounted again, read-only, for this process alone. Root, whom permissions do not
/// stop, is stopped by this; and nobody needs to be root for it where the system lets users have
/// namespaces of their own.
inline void read_only(const std::string& place) {
  const char* folder = place.c_str();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
      ::mount(folder, folder, nullptr, MS_BIND, nullptr) != 0 ||
      ::mount(nullptr, folder, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0 ||
      ::chdir(folder) != 0)
    ::_exit(not_possible_here);
}

inline void full_output(const std::string& /*place*/) {
  ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO);
}

inline void closed_pipe(const std::string& /*place*/) {
  int ends[2];
  if (::pipe(ends) != 0) ::_exit(no_start);
  ::close(ends[0]);
  ::dup2(ends[1], STDOUT_FILENO);
}

inline Preparation little_memory(rlim_t mebibytes) {
  return [mebibytes](const std::string& place) {
    count_no_lines(place);
    const rlimit limit = {mebibytes << 20, mebibytes << 20};
    ::setrlimit(RLIMIT_AS, &limit);
  };
}

inline Arguments joined(Arguments first, const Arguments& more) {
  first.insert(first.end(), more.begin(), more.end());
  return comet::test::last_of_each(first);
}

inline const Arguments small = {"--data",       "data", "--embedding-dim", "4", "--experts", "4",
                                "--expert-dim", "4",    "--head-dim",      "4", "--epochs",  "1",
                                "--batch-size", "64",   "--threads",       "1", "--quiet"};

inline Arguments training(const std::string& out, const Arguments& more = {}) {
  return joined(joined({"train", "--out", out}, small), more);
}
inline Arguments searching(const std::string& out, const Arguments& more = {"--trials", "1"}) {
  return joined(joined({"tune", "--space", "space.json", "--results", out}, small), more);
}
inline Arguments comparing(const std::string& out, const Arguments& more = {}) {
  return joined(joined({"compare", "--gates", "comet", "--out", out}, small), more);
}
inline const Arguments evaluate = {"evaluate", "--model", "old/model.safetensors", "--data",
                                   "data"};
inline const Arguments recommend = {
    "recommend", "--model", "old/model.safetensors", "--data", "data", "--user", "1"};
inline const Arguments synthesize = {"synthesize", "new", "--users",   "20",
                                     "--items",    "30",  "--ratings", "200"};
inline const Arguments budget = {"budget", "study/tune/trials.jsonl", "--resamples", "10", "--out",
                                 "new"};
inline const Arguments report = {"report", "old", "--out", "new"};

/// The same, told the file of ratings instead of the folder: there a pipe would be refused.
inline Arguments of_file(const Arguments& arguments) {
  return joined(arguments, {"--data", "data/ratings.csv"});
}

struct Reader {
  Arguments arguments;
  const char* file;       // that it reads
  const char* cut_short;  // what it says if that ends in the midst of a row
};

/// Every command that reads a table.
inline const std::vector<Reader> readers = {
    {of_file(training("new")), "data/ratings.csv", "ratings.csv:"},
    {of_file(searching("new")), "data/ratings.csv", "ratings.csv:"},
    {of_file(comparing("new")), "data/ratings.csv", "ratings.csv:"},
    {of_file(evaluate), "data/ratings.csv", "ratings.csv:"},
    {of_file(recommend), "data/ratings.csv", "ratings.csv:"},
    {budget, "study/tune/trials.jsonl", "no trials in it"},
    {report, "old/metrics.jsonl", "metrics.jsonl:1: "},
};

/// Data, the model and result of a training, and a search.
inline void prepare_place(const Place& place) {
  std::filesystem::create_directory(place.path() / "bin");
  const auto gnuplot = place.write(
      "bin/gnuplot", "#!/bin/sh\nfor end in svg png; do echo picture >${1%gp}$end; done\n");
  std::filesystem::permissions(gnuplot, std::filesystem::perms::owner_all);
  place.write("space.json", R"({"learning_rate": {"categorical": [0.001, 0.01]}})");
  REQUIRE(run(place, {"synthesize", "data", "--users", "20", "--items", "30", "--ratings", "200"})
              .code == 0);
  for (const Arguments& arguments : {training("old"), searching("study")}) {
    const Outcome outcome = run(place, arguments);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
}

inline void copy(const Place& from, const Place& to) {
  std::filesystem::copy(from.path(), to.path(), std::filesystem::copy_options::recursive);
}

/// Cuts a file to a part of its length.
inline void cut(const std::filesystem::path& file, double part) {
  const auto size = static_cast<double>(std::filesystem::file_size(file));
  std::filesystem::resize_file(file, static_cast<std::uintmax_t>(part * size));
}

/// Puts a file that opens, but of which no byte can be read, as on a damaged disk.
inline void make_unreadable(const std::filesystem::path& file) {
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/proc/self/mem", file);
}

using Contents = std::map<std::filesystem::path, std::string>;

/// Of the files of finished results.
inline Contents finished(const Place& place) {
  Contents contents;
  for (const char* folder : {"old", "study"}) {
    if (!std::filesystem::exists(place.path() / folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(place.path() / folder))
      if (std::filesystem::is_regular_file(entry.symlink_status()) &&
          entry.file_size() < (1U << 20U))  // some faults make files larger than the memory
        contents[entry.path()] = content_of(entry.path());
  }
  return contents;
}

/// Nothing of what is being written is left under another name.
inline void check_no_temporary_file(const Place& place) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place.path()))
    CHECK_THAT(entry.path().filename().string(), !ContainsSubstring(".tmp."));
}

/// A pipe in place of a file, and what the file had in it.
struct Pipe {
  std::filesystem::path path;
  std::string content;

  explicit Pipe(const std::filesystem::path& file) : path(file), content(content_of(file)) {
    std::filesystem::remove(file);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  }

  /// Waits until the child reads. \return -1 if it ended before
  [[nodiscard]] int opened_by(pid_t child) const {
    for (;;) {
      const int end = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
      if (end >= 0) return end;
      if (has_ended(child)) return -1;
      std::this_thread::yield();
    }
  }
};

inline void write_to(int pipe, std::string_view text) {
  CHECK(::write(pipe, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

}  // namespace programs::movielens::test
