// SPDX-License-Identifier: MIT
// The program `movielens` when its surroundings fail: every command ends with its exit code and one
// line, and what was there before is as it was. The real program is run, as a user runs it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <examples/movielens/temporary_directory.hpp>
#include <support/catch.hpp>

using movielens::test::content_of;
using movielens::test::TemporaryDirectory;

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

struct Outcome {
  int code = -1;  // 128 + signal if one ended it
  std::string err;
};

/// What a child does to itself before the program starts.
using Preparation = std::function<void()>;

Outcome run(
    const TemporaryDirectory& directory, const Arguments& arguments,
    const Preparation& prepare = [] {}) {
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
    if (::chdir(place.c_str()) != 0 || nowhere < 0) ::_exit(99);
    ::dup2(err[1], STDERR_FILENO);
    ::dup2(nowhere, STDOUT_FILENO);
    prepare();
    ::execv(file.c_str(), argv.data());
    ::_exit(99);
  }
  ::close(err[1]);
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

/// Files end after so many bytes, as on a disk that is full.
Preparation full_disk(rlim_t bytes) {
  return [bytes] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
}

void full_output() { ::dup2(::open("/dev/full", O_WRONLY), STDOUT_FILENO); }

void closed_pipe() {
  int ends[2];
  if (::pipe(ends) != 0) ::_exit(99);
  ::close(ends[0]);
  ::dup2(ends[1], STDOUT_FILENO);
}

void little_memory() {
  const rlimit limit = {rlim_t{512} << 20, rlim_t{512} << 20};
  ::setrlimit(RLIMIT_AS, &limit);
}

Arguments training(const std::string& out, const Arguments& more = {}) {
  Arguments all = {"train", "--data",    "data", "--out",        out,  "--embedding-dim",
                   "4",     "--experts", "4",    "--expert-dim", "4",  "--head-dim",
                   "4",     "--epochs",  "1",    "--batch-size", "64", "--threads",
                   "1",     "--quiet"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Data, and the model and result of a training.
void prepare_place(const TemporaryDirectory& place) {
  REQUIRE(run(place, {"synthesize", "data", "--users", "20", "--items", "30", "--ratings", "200"})
              .code == 0);
  const Outcome trained = run(place, training("old"));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
}

/// Cuts a file to a part of its length.
void cut(const std::filesystem::path& file, double part) {
  const auto size = static_cast<double>(std::filesystem::file_size(file));
  std::filesystem::resize_file(file, static_cast<std::uintmax_t>(part * size));
}

std::string content_if_any(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? content_of(file) : "";
}

struct Fault {
  std::string name;
  Arguments arguments;
  int code;
  std::string line;  // a part of it
  std::function<void(const TemporaryDirectory&)> arrange = [](const TemporaryDirectory&) {};
  Preparation prepare = [] {};
};

}  // namespace

TEST_CASE("every fault ends every command with one line and its exit code; older results stay",
          "[movielens][faults]") {
  if (!std::filesystem::exists(program())) {
    WARN("the program is not built: skipped");
    return;
  }
  const Arguments evaluate = {"evaluate", "--model", "old/model.safetensors", "--data", "data"};
  const Arguments recommend = {"recommend", "--model", "old/model.safetensors", "--data", "data",
                               "--user",    "1"};
  const Arguments tune = {"tune",       "--data",   "data", "--space",
                          "space.json", "--trials", "1",    "--quiet"};
  using Place = TemporaryDirectory;
  const auto nothing = [](const Place&) {};
  const auto no_data = [](const Place& p) { std::filesystem::remove_all(p.path() / "data"); };
  const auto half_a_row = [](const Place& p) {
    std::ofstream(p.path() / "data/ratings.csv", std::ios::app) << "19,7";
  };
  const auto no_model = [](const Place& p) {
    std::filesystem::remove(p.path() / "old/model.safetensors");
  };
  const auto half_a_model = [](const Place& p) { cut(p.path() / "old/model.safetensors", 0.5); };
  const auto a_space = [](const Place& p) {
    p.write("space.json", R"({"epochs": 1, "experts": 4, "expert_dim": 4, "head_dim": 4})");
  };
  const auto half_a_checkpoint = [](const Place& p) {
    std::filesystem::create_directory(p.path() / "new");
    const auto checkpoint = p.path() / "new/checkpoint.safetensors";
    std::filesystem::copy_file(p.path() / "old/model.safetensors", checkpoint);
    cut(checkpoint, 0.7);
  };
  const auto in_the_way = [](const Place& p) { p.write("new", "a file"); };

  const TemporaryDirectory place;  // each fault gets a copy of it
  prepare_place(place);
  const std::vector<Fault> faults = {
      {"missing data", training("new"), 2, "data", no_data},
      {"missing data", {"compare", "--data", "data", "--gates", "comet"}, 2, "data", no_data},
      {"missing data", evaluate, 2, "data", no_data},
      {"missing data", recommend, 2, "data", no_data},
      {"missing data", tune, 2, "", no_data},
      {"missing space", tune, 2, "space.json: cannot be opened"},
      {"row cut short", training("new"), 2, "ratings.csv:", half_a_row},
      {"row cut short", evaluate, 2, "ratings.csv:", half_a_row},
      {"missing model", evaluate, 2, "model.safetensors: cannot be read", no_model},
      {"missing model", recommend, 2, "model.safetensors: cannot be read", no_model},
      {"model cut short", evaluate, 2, "model.safetensors: ", half_a_model},
      {"model cut short", recommend, 2, "model.safetensors: ", half_a_model},
      {"checkpoint cut short", training("new", {"--resume"}), 2,
       "checkpoint.safetensors: ", half_a_checkpoint},
      {"a file for a folder", training("new"), 2, "new", in_the_way},
      {"a file for a folder", {"synthesize", "new"}, 2, "new", in_the_way},
      {"full disk", training("new"), 2, "cannot be written", nothing, full_disk(3000)},
      {"full disk", training("old"), 2, "cannot be written", nothing, full_disk(3000)},
      {"full disk", {"synthesize", "new"}, 2, "cannot be written", nothing, full_disk(3000)},
      {"full disk", tune, 2, "cannot be written", a_space, full_disk(20)},
      {"full output", training("new"), 1, "the results cannot be written", nothing, full_output},
      {"full output", evaluate, 1, "the results cannot be written", nothing, full_output},
      {"full output", recommend, 1, "the results cannot be written", nothing, full_output},
      {"closed pipe", training("new"), 1, "the results cannot be written", nothing, closed_pipe},
      {"closed pipe", evaluate, 1, "the results cannot be written", nothing, closed_pipe},
      {"out of memory", training("new", {"--expert-dim", "500000", "--embedding-dim", "1000"}), 2,
       "not enough memory", nothing, little_memory},
      {"out of memory", training("new", {"--experts", "1000000"}), 2, "not enough memory", nothing,
       little_memory},
  };
  for (const Fault& fault : faults) {
    if (is_sanitized && fault.name == "out of memory") continue;  // they reserve the address space
    const TemporaryDirectory copy;
    std::filesystem::copy(place.path(), copy.path(), std::filesystem::copy_options::recursive);
    fault.arrange(copy);
    const std::string model = content_if_any(copy.path() / "old/model.safetensors");
    const std::string result = content_if_any(copy.path() / "old/result.json");
    const Outcome outcome = run(copy, fault.arguments, fault.prepare);
    INFO(fault.name << ": movielens " << fault.arguments.front() << " " << fault.arguments[1]);
    INFO(outcome.err);
    CHECK(outcome.code == fault.code);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Catch::StartsWith("movielens: ") && Catch::Contains(fault.line));
    // A training into the folder of an older one begins by taking away all that is in it.
    if (fault.arguments != training("old")) {
      const bool same_model = content_if_any(copy.path() / "old/model.safetensors") == model;
      const bool same_result = content_if_any(copy.path() / "old/result.json") == result;
      CHECK(same_model);
      CHECK(same_result);
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(copy.path()))
      CHECK_THAT(entry.path().filename().string(), !Catch::Contains(".tmp."));
  }
}
