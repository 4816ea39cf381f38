// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <programs/base/console.hpp>
#include <programs/base/file_lock.hpp>

#include <support/arguments.hpp>
#include <support/catch.hpp>
#include <support/child_process.hpp>
#include <support/temporary_directory.hpp>

/// \file
/// \brief A program, run within a test or as a process of its own.

namespace programs::test {

using comet::test::content_of;
using comet::test::last_of_each;
using comet::test::TemporaryDirectory;

using Arguments = std::vector<std::string>;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

/// \tparam Program  has `name` and `run(argc, argv, console)`
template <class Program>
Outcome run_program(const Arguments& arguments, bool err_is_terminal = false) {
  std::vector<const char*> argv = {Program::name};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  const int code = Program::run(static_cast<int>(argv.size()), argv.data(),
                                {.out = out, .err = err, .err_is_terminal = err_is_terminal});
  return {code, out.str(), err.str()};
}

inline std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// \brief The program as a child process. Its standard error goes to a file.
template <class Program>
class Child : public comet::test::ChildProcess {
 public:
  Child(const Arguments& arguments, const std::filesystem::path& err)
      : ChildProcess([&] {
          const Outcome outcome = run_program<Program>(arguments);
          std::ofstream(err) << outcome.err;
          return outcome.code;
        }) {}
};

/// The program refuses in one line that holds a reason, with 2, and prints nothing else.
template <class Program>
void check_refused(const Arguments& arguments, const std::string& reason) {
  const Outcome outcome = run_program<Program>(arguments);
  INFO(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(lines_in(outcome.err) == 1);
  CHECK_THAT(outcome.err,
             StartsWith(std::string(Program::name) + ": ") && ContainsSubstring(reason));
}

/// A command refuses a model's file that is cut anywhere.
/// \param arguments  that call it with the file `broken`
template <class Program>
void check_cut_model_refused(const std::filesystem::path& model,
                             const std::filesystem::path& broken, const Arguments& arguments) {
  const std::string bytes = content_of(model);
  for (const double share : {0.0, 0.001, 0.1, 0.5, 0.999}) {
    std::ofstream(broken, std::ios::binary)
        << bytes.substr(0, std::size_t(share * double(bytes.size())));
    check_refused<Program>(arguments, broken.filename().string() + ": ");
  }
}

/// The head of a model's file, JSON as text.
inline std::string head_of(const std::string& bytes) {
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  return bytes.substr(sizeof size, std::size_t(size));
}

/// A model's file in which the description has something else.
inline void write_changed_model(const std::filesystem::path& model, const std::filesystem::path& to,
                                const std::string& was, const std::string& is) {
  const std::string bytes = content_of(model);
  std::string head = head_of(bytes);
  const std::string rest = bytes.substr(sizeof(std::uint64_t) + head.size());
  REQUIRE(head.find(was) != std::string::npos);
  head.replace(head.find(was), was.size(), is);
  head.resize((head.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = head.size();
  std::ofstream file(to, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << head << rest;
}

/// A command refuses a model's file with a weight that is no number, and names the file.
/// \param arguments  that call it with the file `broken`
template <class Program>
void check_nan_model_refused(const std::filesystem::path& model,
                             const std::filesystem::path& broken, const Arguments& arguments) {
  std::string bytes = content_of(model);
  const std::string head = head_of(bytes);
  const nlohmann::json tensors = nlohmann::json::parse(head);
  for (const auto& [name, tensor] : tensors.items()) {
    if (!name.starts_with("experts.0.")) continue;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::size_t place = tensor["data_offsets"][0];
    std::memcpy(bytes.data() + sizeof(std::uint64_t) + head.size() + place, &nan, sizeof nan);
    std::ofstream(broken, std::ios::binary) << bytes;
    check_refused<Program>(arguments, broken.string() + ": tensor \"" + name + "\" holds nan");
    return;
  }
  FAIL("there is no expert");
}

/// \brief A training that another one keeps out of its folder, and one that diverges there: each
/// ends in a line, and the folder is as it is said to be.
/// \param diverging  a training with too high a rate, to the folder `out`
template <class Program>
void check_kept_out_and_diverging(const std::filesystem::path& out, const Arguments& diverging) {
  std::filesystem::create_directories(out);
  {
    const auto held = FileLock::try_for(out / "metrics.jsonl");
    check_refused<Program>(diverging, out.string() + ": another training is writing to it");
  }
  const Outcome outcome = run_program<Program>(diverging);
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring(": the training diverged after step ") &&
                              ContainsSubstring("try a smaller --learning-rate than 1e+30\n") &&
                              !ContainsSubstring("comet::"));
  CHECK(lines_in(outcome.err) == 1);
  for (const char* const name : {"result.json", "model.safetensors", "checkpoint.safetensors"})
    CHECK_FALSE(std::filesystem::exists(out / name));
  for (const char* const name : {"metrics.jsonl", "steps.jsonl"})
    CHECK(std::filesystem::exists(out / name));
}

/// All that a training leaves, but for times.
inline std::string remains_of(const std::filesystem::path& directory) {
  auto result = nlohmann::json::parse(content_of(directory / "result.json"));
  for (const char* const time : {"seconds", "seconds_per_epoch", "test_seconds", "threads"})
    result.erase(time);
  std::string remains = result.dump() + '\n';
  std::istringstream epochs(content_of(directory / "metrics.jsonl"));
  for (std::string line; std::getline(epochs, line);) {
    auto epoch = nlohmann::json::parse(line);
    epoch.erase("seconds");
    remains += epoch.dump() + '\n';
  }
  return remains + content_of(directory / "steps.jsonl") +
         content_of(directory / "model.safetensors");
}

/// \brief A folder with a folder for each training, until the test ends.
class Trainings {
 public:
  [[nodiscard]] std::filesystem::path out(const std::string& name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] std::string model(const std::string& name) const {
    return (out(name) / "model.safetensors").string();
  }
  [[nodiscard]] nlohmann::json result(const std::string& name) const {
    return nlohmann::json::parse(content_of(out(name) / "result.json"));
  }

 protected:
  TemporaryDirectory directory_;
};

}  // namespace programs::test
