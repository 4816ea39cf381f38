// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <next_character/commands/program.hpp>

#include <support/child_process.hpp>
#include <support/temporary_directory.hpp>

/// \file
/// \brief The program, run within a test or as a process of its own, on a text and a model so small
/// that a training takes some hundredths of a second.

namespace programs::next_character::test {

using comet::test::content_of;
using comet::test::TemporaryDirectory;

using Arguments = std::vector<std::string>;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

inline Outcome run_program(const Arguments& arguments) {
  std::vector<const char*> argv = {"next_character"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::ostringstream out, err;
  const int code = programs::next_character::run(static_cast<int>(argv.size()), argv.data(),
                                                 {.out = out, .err = err});
  return {code, out.str(), err.str()};
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

/// A folder of small texts, and trainings on them.
class SmallTraining {
 public:
  SmallTraining() {
    std::filesystem::create_directory(directory_.path() / "texts");
    for (int file = 0; file < 30; ++file) {
      std::string text;
      for (int line = 0; line < 20; ++line)
        text += "def f" + std::to_string(file * line % 7) + "(x):\n    return x + " +
                std::to_string(line % 5) + "  # the " + std::to_string(file % 3) + "rd\n";
      (void)directory_.write("texts/" + std::to_string(file) + ".py", text);
    }
  }

  [[nodiscard]] std::string data() const { return (directory_.path() / "texts").string(); }
  [[nodiscard]] std::filesystem::path out(const std::string& name) const {
    return directory_.path() / name;
  }
  [[nodiscard]] std::string model(const std::string& name) const {
    return (out(name) / "model.safetensors").string();
  }
  [[nodiscard]] nlohmann::json result(const std::string& name) const {
    return nlohmann::json::parse(content_of(out(name) / "result.json"));
  }

  /// Of what makes the model and the training small.
  [[nodiscard]] Arguments small(const std::string& command, const std::string& name,
                                const Arguments& more = {}) const {
    Arguments all = {command,
                     "--data=" + data(),
                     "--out=" + out(name).string(),
                     "--window=6",
                     "--embedding-dim=4",
                     "--hidden-dim=12",
                     "--experts=4",
                     "--expert-dim=8",
                     "--steps=50",
                     "--validate-every=20",
                     "--warm-up=5",
                     "--batch-size=64",
                     "--learning-rate=0.02",
                     "--threads=1",
                     "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] Outcome train(const std::string& name, const Arguments& more = {}) const {
    return run_program(small("train", name, more));
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace programs::next_character::test
