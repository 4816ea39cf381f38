// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <movielens/commands/program.hpp>

#include <support/child_process.hpp>
#include <support/temporary_directory.hpp>

/// \file
/// \brief The program, run within a test or as a process of its own, on a set and a model so small
/// that a training takes some hundredths of a second.

namespace programs::movielens::test {

using comet::test::content_of;
using comet::test::TemporaryDirectory;

using Arguments = std::vector<std::string>;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

inline Outcome run_program(const Arguments& arguments, bool err_is_terminal = false) {
  std::vector<const char*> argv = {"movielens"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  const int code =
      programs::movielens::run(static_cast<int>(argv.size()), argv.data(),
                               {.out = out, .err = err, .err_is_terminal = err_is_terminal});
  return {code, out.str(), err.str()};
}

inline std::size_t lines_in(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// \brief The program as a child process. Its standard error goes to a file.
class Child : public comet::test::ChildProcess {
 public:
  Child(const Arguments& arguments, const std::filesystem::path& err)
      : ChildProcess([&] {
          const Outcome outcome = run_program(arguments);
          std::ofstream(err) << outcome.err;
          return outcome.code;
        }) {}
};

/// Made-up ratings, and trainings on them.
class SmallTraining {
 public:
  SmallTraining() {
    const Outcome outcome =
        run_program({"synthesize", data(), "--users", "30", "--items", "40", "--ratings", "400"});
    if (outcome.code != 0) throw std::runtime_error(outcome.err);
  }

  [[nodiscard]] std::string data() const { return (directory_.path() / "data").string(); }
  [[nodiscard]] std::filesystem::path out(const std::string& name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] std::string model(const std::string& name) const {
    return (out(name) / "model.safetensors").string();
  }
  [[nodiscard]] nlohmann::json result(const std::string& name) const {
    return nlohmann::json::parse(content_of(out(name) / "result.json"));
  }

  [[nodiscard]] Arguments arguments(const std::string& name, const Arguments& more = {}) const {
    Arguments all = {"train",
                     "--data=" + data(),
                     "--out=" + out(name).string(),
                     "--embedding-dim=4",
                     "--experts=5",
                     "--expert-dim=6",
                     "--head-dim=6",
                     "--epochs=3",
                     "--batch-size=64",
                     "--learning-rate=0.01",
                     "--threads=1",
                     "--search-epochs=2",
                     "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] Outcome train(const std::string& name, const Arguments& more = {}) const {
    return run_program(arguments(name, more));
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace programs::movielens::test
