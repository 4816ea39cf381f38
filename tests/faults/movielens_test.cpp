// SPDX-License-Identifier: MIT
// The program `movielens` when its surroundings fail: every command ends with its exit code and one
// line, and what was there before is as it was. The real program is run, as a user runs it.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <examples/movielens/temporary_directory.hpp>
#include <support/catch.hpp>

using movielens::test::content_of;
using Place = movielens::test::TemporaryDirectory;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#elif defined(__has_feature)
constexpr bool is_sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool is_sanitized = false;
#endif

using Arguments = std::vector<std::string>;

/// Where the program lies beside the tests; the file may be missing if only tests were built.
std::filesystem::path program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "movielens";
}

bool is_built() {
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

constexpr int no_start = 99;
constexpr int not_possible_here = 98;

Outcome run(
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

bool has_ended(pid_t child) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == child;
}

void nothing(const std::string& /*place*/) {}

/// The counts of a coverage build would not survive the limits, and complain of them.
void count_no_lines(const std::string& place) {
  ::setenv("GCOV_PREFIX", (place + "/counts").c_str(), 1);
  ::setenv("GCOV_ERROR_FILE", "/dev/null", 1);
}

/// Files end after so many bytes, as on a disk that is full.
Preparation full_disk(rlim_t bytes) {
  return [bytes](const std::string& place) {
    count_no_lines(place);
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
}

/// The place is mounted again, read-only, for this process alone. Root, whom permissions do not
/// stop, is stopped by this; and nobody needs to be root for it where the system lets users have
/// namespaces of their own.
void read_only(const std::string& place) {
  const char* folder = place.c_str();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
      ::mount(folder, folder, nullptr, MS_BIND, nullptr) != 0 ||
      ::mount(nullptr, folder, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0 ||
      ::chdir(folder) != 0)
    ::_exit(not_possible_here);
}

void full_output(const std::string& /*place*/) {
  ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO);
}

void closed_pipe(const std::string& /*place*/) {
  int ends[2];
  if (::pipe(ends) != 0) ::_exit(no_start);
  ::close(ends[0]);
  ::dup2(ends[1], STDOUT_FILENO);
}

Preparation little_memory(rlim_t mebibytes) {
  return [mebibytes](const std::string& place) {
    count_no_lines(place);
    const rlimit limit = {mebibytes << 20, mebibytes << 20};
    ::setrlimit(RLIMIT_AS, &limit);
  };
}

Arguments joined(Arguments first, const Arguments& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

const Arguments small = {"--data",       "data", "--embedding-dim", "4", "--experts", "4",
                         "--expert-dim", "4",    "--head-dim",      "4", "--epochs",  "1",
                         "--batch-size", "64",   "--threads",       "1", "--quiet"};

Arguments training(const std::string& out, const Arguments& more = {}) {
  return joined(joined({"train", "--out", out}, small), more);
}
Arguments searching(const std::string& out, const Arguments& more = {"--trials", "1"}) {
  return joined(joined({"tune", "--space", "space.json", "--results", out}, small), more);
}
Arguments comparing(const std::string& out, const Arguments& more = {}) {
  return joined(joined({"compare", "--gates", "comet", "--out", out}, small), more);
}
const Arguments evaluate = {"evaluate", "--model", "old/model.safetensors", "--data", "data"};
const Arguments recommend = {"recommend", "--model", "old/model.safetensors", "--data", "data",
                             "--user",    "1"};
const Arguments synthesize = {"synthesize", "new", "--users",   "20",
                              "--items",    "30",  "--ratings", "200"};
const Arguments budget = {"budget", "study/tune/trials.jsonl", "--resamples", "10", "--out", "new"};
const Arguments report = {"report", "old", "--out", "new"};

/// Data, the model and result of a training, and a search.
void prepare_place(const Place& place) {
  std::filesystem::create_directory(place.path() / "bin");
  const auto gnuplot = place.write("bin/gnuplot", "#!/bin/sh\nexit 0\n");
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

void copy(const Place& from, const Place& to) {
  std::filesystem::copy(from.path(), to.path(), std::filesystem::copy_options::recursive);
}

/// Cuts a file to a part of its length.
void cut(const std::filesystem::path& file, double part) {
  const auto size = static_cast<double>(std::filesystem::file_size(file));
  std::filesystem::resize_file(file, static_cast<std::uintmax_t>(part * size));
}

/// Puts a file that opens, but of which no byte can be read, as on a damaged disk.
void make_unreadable(const std::filesystem::path& file) {
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/proc/self/mem", file);
}

using Contents = std::map<std::filesystem::path, std::string>;

/// Of the files of finished results.
Contents finished(const Place& place) {
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
void check_no_temporary_file(const Place& place) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place.path()))
    CHECK_THAT(entry.path().filename().string(), !Catch::Contains(".tmp."));
}

struct Fault {
  std::string name;
  Arguments arguments;
  int code;
  std::string line;  // a part of it
  std::function<void(const Place&)> arrange = [](const Place&) {};
  Preparation prepare = nothing;
};

void check(const Place& original, const Fault& fault) {
  const Place place;
  copy(original, place);
  fault.arrange(place);
  const Contents before = finished(place);
  const Outcome outcome = run(place, fault.arguments, fault.prepare);
  INFO(fault.name << ": movielens " << fault.arguments[0] << " " << fault.arguments[2]);
  INFO(outcome.err);
  if (outcome.code == not_possible_here) {
    WARN(fault.name << ": not possible here, skipped");
    return;
  }
  CHECK(outcome.code == fault.code);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == (fault.code == 0 ? 0 : 1));
  if (fault.code != 0)
    CHECK_THAT(outcome.err, Catch::StartsWith("movielens: ") && Catch::Contains(fault.line));
  // A training into the folder of an older one begins by taking away all that is in it.
  if (fault.arguments != training("old")) CHECK(finished(place) == before);
  check_no_temporary_file(place);
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

void write_to(int pipe, std::string_view text) {
  CHECK(::write(pipe, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("every fault ends every command with one line and its exit code; older results stay",
          "[movielens][faults]") {
  if (!is_built()) return;
  const auto no_change = [](const Place&) {};
  const auto without = [](const char* file) {
    return [file](const Place& p) { std::filesystem::remove_all(p.path() / file); };
  };
  const auto half_of = [](const char* file) {
    return [file](const Place& p) { cut(p.path() / file, 0.5); };
  };
  const auto unreadable = [](const char* file) {
    return [file](const Place& p) { make_unreadable(p.path() / file); };
  };
  const auto huge = [](const char* file) {
    return [file](const Place& p) { std::filesystem::resize_file(p.path() / file, 1U << 30U); };
  };
  const auto half_a_row = [](const Place& p) {
    std::ofstream(p.path() / "data/ratings.csv", std::ios::app) << "19,7";
  };
  const auto half_a_trial = [](const Place& p) {
    std::ofstream(p.path() / "study/tune/trials.jsonl", std::ios::app) << "{\"trial\": 1,\n";
  };
  const auto half_an_epoch = [](const Place& p) {
    std::ofstream(p.path() / "old/metrics.jsonl", std::ios::app) << "{\"epoch\": 2,";
  };
  const auto half_a_checkpoint = [](const Place& p) {
    std::filesystem::create_directory(p.path() / "new");
    const auto checkpoint = p.path() / "new/checkpoint.safetensors";
    std::filesystem::copy_file(p.path() / "old/model.safetensors", checkpoint);
    cut(checkpoint, 0.7);
  };
  const auto in_the_way = [](const Place& p) { p.write("new", "a file"); };
  const auto many_epochs = [](const Place& p) {
    std::ofstream file(p.path() / "old/metrics.jsonl");
    for (int i = 0; i < 1'200'000; ++i) file << "{}\n";
  };
  const Arguments pretrained = training("new", {"--from-pretrained", "old/model.safetensors"});
  const Arguments too_large = {"--experts", "1000000"};

  const Place place;  // each fault gets a copy of it
  prepare_place(place);
  std::vector<Fault> faults = {
      {"missing trials", budget, 2, "trials.jsonl: ", without("study")},
      {"missing training", report, 2, "old: ", without("old")},
      {"row cut short", budget, 2, "trials.jsonl:2: ", half_a_trial},
      {"row cut short", report, 2, "metrics.jsonl:2: ", half_an_epoch},
      {"missing model", evaluate, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"missing model", recommend, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"missing model", pretrained, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"model cut short", evaluate, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"model cut short", recommend, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"model cut short", pretrained, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"checkpoint cut short", training("new", {"--resume"}), 2,
       "checkpoint.safetensors: ", half_a_checkpoint},
      {"missing space", searching("new"), 2, "space.json: cannot be opened", without("space.json")},
      {"space cut short", searching("new"), 2, "space.json: ", half_of("space.json")},
      {"unreadable", evaluate, 2, "model.safetensors: ", unreadable("old/model.safetensors")},
      {"unreadable", budget, 2, "trials.jsonl: cannot be read",
       unreadable("study/tune/trials.jsonl")},
      {"unreadable", report, 2, "metrics.jsonl:1: cannot be read", unreadable("old/metrics.jsonl")},
      {"a file for a folder", training("new"), 2, "new", in_the_way},
      {"a file for a folder", searching("new"), 2, "new", in_the_way},
      {"a file for a folder", comparing("new"), 2, "new", in_the_way},
      {"a file for a folder", synthesize, 2, "new", in_the_way},
      {"a file for a folder", budget, 2, "new", in_the_way},
      {"a file for a folder", report, 2, "new", in_the_way},
      {"read-only folder", evaluate, 0, "", no_change, read_only},
      {"read-only folder", recommend, 0, "", no_change, read_only},
      {"full disk", training("new"), 2, "cannot be written", no_change, full_disk(3000)},
      {"full disk", training("old"), 2, "cannot be written", no_change, full_disk(3000)},
      {"full disk", evaluate, 0, "", no_change, full_disk(20)},
      {"full disk", recommend, 0, "", no_change, full_disk(20)},
      {"out of memory", training("new", {"--expert-dim", "500000", "--embedding-dim", "1000"}), 2,
       "", no_change, little_memory(512)},
      {"out of memory", training("new", too_large), 2, "", no_change, little_memory(512)},
      {"out of memory", searching("new", joined({"--trials", "1"}, too_large)), 2, "", no_change,
       little_memory(512)},
      {"out of memory", comparing("new", too_large), 2, "", no_change, little_memory(512)},
      {"out of memory", evaluate, 2, "", huge("old/model.safetensors"), little_memory(512)},
      {"out of memory", recommend, 2, "", huge("old/model.safetensors"), little_memory(512)},
      {"out of memory", joined(synthesize, {"--users", "100000000", "--ratings", "100000000"}), 2,
       "", no_change, little_memory(512)},
      {"out of memory", budget, 2, "", huge("study/tune/trials.jsonl"), little_memory(64)},
      {"out of memory", report, 2, "", many_epochs, little_memory(64)},
  };
  for (const Arguments& reader :
       {training("new"), searching("new"), comparing("new"), evaluate, recommend}) {
    faults.push_back({"missing data", reader, 2, "data", without("data")});
    faults.push_back({"row cut short", reader, 2, "ratings.csv:202: ", half_a_row});
    faults.push_back(
        {"unreadable", reader, 2, "ratings.csv:1: cannot be read", unreadable("data/ratings.csv")});
  }
  for (const Arguments& writer :
       {training("new"), searching("new"), comparing("new"), synthesize, budget, report})
    faults.push_back(
        {"read-only folder", writer, 2, "Read-only file system", no_change, read_only});
  for (const Arguments& writer : {searching("new"), comparing("new"), synthesize, budget, report})
    faults.push_back({"full disk", writer, 2, "cannot be written", no_change, full_disk(20)});
  for (const Arguments& command : {training("new"), searching("new"), comparing("new"), evaluate,
                                   recommend, synthesize, budget, report}) {
    const std::string line = "the results cannot be written";
    faults.push_back({"full output", command, 1, line, no_change, full_output});
    faults.push_back({"closed pipe", command, 1, line, no_change, closed_pipe});
  }
  for (Fault& fault : faults) {
    if (fault.name == "out of memory") {
      if (is_sanitized) continue;  // they reserve the address space
      fault.line = "not enough memory";
    }
    check(place, fault);
  }
}

TEST_CASE("a file that loses its name while it is read is read to its end; one that ends is cut",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place original;
  prepare_place(original);
  struct Reader {
    Arguments arguments;
    const char* file;
    const char* line;  // if it ends in the midst of a row
  };
  const std::vector<Reader> readers = {
      {training("new"), "data/ratings.csv", "ratings.csv:"},
      {searching("new"), "data/ratings.csv", "ratings.csv:"},
      {comparing("new"), "data/ratings.csv", "ratings.csv:"},
      {evaluate, "data/ratings.csv", "ratings.csv:"},
      {recommend, "data/ratings.csv", "ratings.csv:"},
      {budget, "study/tune/trials.jsonl", "no trials in it"},
      {report, "old/metrics.jsonl", "metrics.jsonl:1: "},
  };
  for (const Reader& reader : readers)
    for (const bool whole : {true, false}) {
      const Place place;
      copy(original, place);
      const Pipe pipe(place.path() / reader.file);
      const std::size_t half = pipe.content.find(',', pipe.content.size() / 2);
      const Outcome outcome = run(place, reader.arguments, nothing, [&](pid_t child) {
        const int end = pipe.opened_by(child);
        if (end < 0) return;
        write_to(end, std::string_view(pipe.content).substr(0, half));
        std::filesystem::remove(pipe.path);
        if (whole) write_to(end, std::string_view(pipe.content).substr(half));
        ::close(end);
      });
      INFO("movielens " << reader.arguments[0] << ", whole: " << whole << ": " << outcome.err);
      CHECK_FALSE(std::filesystem::exists(pipe.path));
      CHECK(outcome.code == (whole ? 0 : 2));
      if (!whole) {
        CHECK_THAT(outcome.err, Catch::StartsWith("movielens: ") && Catch::Contains(reader.line));
        CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
      }
    }
}

TEST_CASE("a signal that meets a command while it reads ends it and costs nothing",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place original;
  prepare_place(original);
  struct Reader {
    Arguments arguments;
    const char* file;
  };
  const std::vector<Reader> readers = {
      {training("new"), "data/ratings.csv"},  {searching("new"), "data/ratings.csv"},
      {comparing("new"), "data/ratings.csv"}, {evaluate, "data/ratings.csv"},
      {recommend, "data/ratings.csv"},        {budget, "study/tune/trials.jsonl"},
      {report, "old/metrics.jsonl"},
  };
  for (const int signal : {SIGTERM, SIGKILL})
    for (const Reader& reader : readers) {
      if (signal == SIGTERM && reader.arguments[0] == "train") continue;  // the next test
      const Place place;
      copy(original, place);
      const Pipe pipe(place.path() / reader.file);
      const Contents before = finished(place);
      const Outcome outcome = run(place, reader.arguments, nothing, [&](pid_t child) {
        const int end = pipe.opened_by(child);
        ::kill(child, signal);
        while (!has_ended(child)) std::this_thread::yield();
        ::close(end);
      });
      INFO("movielens " << reader.arguments[0] << ", signal " << signal);
      CHECK(outcome.code == 128 + signal);
      CHECK(outcome.err.empty());
      CHECK(finished(place) == before);
      CHECK_FALSE(std::filesystem::exists(place.path() / "new"));
    }
}

TEST_CASE("a training that is asked to end while it reads does so before its first step",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place place;
  prepare_place(place);
  const Pipe pipe(place.path() / "data/ratings.csv");
  const Outcome outcome = run(place, training("new"), nothing, [&](pid_t child) {
    const int end = pipe.opened_by(child);
    ::kill(child, SIGTERM);
    write_to(end, pipe.content);
    ::close(end);
  });
  INFO(outcome.err);
  CHECK(outcome.code == 130);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  CHECK_FALSE(std::filesystem::exists(place.path() / "new/result.json"));
}

TEST_CASE("a signal costs a search or a comparison no finished training; --resume does the others",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place original;
  prepare_place(original);
  struct Interrupted {
    Arguments arguments;
    Arguments fewer;     // with which it comes to an end soon
    const char* waited;  // for this file of a finished training
    const char* result;
  };
  const std::vector<Interrupted> commands = {
      {searching("new", {"--trials", "1000"}), searching("new", {"--trials", "4", "--resume"}),
       "new/tune/trials.jsonl", "new/tune/summary.json"},
      {comparing("new", {"--gates", "comet,top_k,softmax", "--seeds", "1,2,3,4,5,6,7,8,9"}),
       comparing("new", {"--gates", "comet,top_k", "--seeds", "1,2", "--resume"}),
       "new/comet-none-seed1/result.json", "new/compare.json"},
  };
  for (const Interrupted& command : commands)
    for (const int signal : {SIGTERM, SIGKILL}) {
      const Place place;
      copy(original, place);
      const auto waited = place.path() / command.waited;
      std::string first;
      const Outcome outcome = run(place, command.arguments, nothing, [&](pid_t child) {
        while (first.find('\n') == std::string::npos && !has_ended(child)) {
          std::this_thread::yield();
          first = content_of(waited);
        }
        ::kill(child, signal);
      });
      INFO("movielens " << command.arguments[0] << ", signal " << signal << ": " << outcome.err);
      CHECK(outcome.code == (signal == SIGTERM ? 130 : 128 + SIGKILL));
      REQUIRE_FALSE(first.empty());
      CHECK_FALSE(std::filesystem::exists(place.path() / command.result));
      const Outcome resumed = run(place, command.fewer);
      INFO(resumed.err);
      CHECK(resumed.code == 0);
      CHECK(std::filesystem::exists(place.path() / command.result));
      CHECK_THAT(content_of(waited), Catch::StartsWith(first.substr(0, first.find('\n') + 1)));
      check_no_temporary_file(place);
    }
}

TEST_CASE("made-up ratings whose making is ended by a signal are not there, or whole",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place whole;
  prepare_place(whole);
  REQUIRE(run(whole, synthesize).code == 0);
  for (const int signal : {SIGTERM, SIGKILL})
    for (const char* seen : {"new", "new/SOURCE", "new/movies.csv"}) {
      const Place place;
      (void)run(place, synthesize, nothing, [&](pid_t child) {
        while (!std::filesystem::exists(place.path() / seen) && !has_ended(child)) {
        }
        ::kill(child, signal);
      });
      for (const char* file : {"new/SOURCE", "new/movies.csv", "new/ratings.csv"}) {
        INFO(file << " after signal " << signal << " at the sight of " << seen);
        CHECK((!std::filesystem::exists(place.path() / file) ||
               content_of(place.path() / file) == content_of(whole.path() / file)));
      }
    }
}
