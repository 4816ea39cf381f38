// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <next_character/commands/program.hpp>

#include <examples/programs/run_program.hpp>

/// \file
/// \brief The program on a text and a model so small that a training takes some hundredths of a
/// second.

namespace programs::next_character::test {

using programs::test::Arguments;
using programs::test::content_of;
using programs::test::Outcome;
using programs::test::TemporaryDirectory;

struct Program {
  static constexpr const char* name = "next_character";
  static constexpr auto run = programs::next_character::run;
};
using Child = programs::test::Child<Program>;

inline Outcome run_program(const Arguments& arguments) {
  return programs::test::run_program<Program>(arguments);
}

/// A folder of small texts, and trainings on them.
class SmallTraining : public programs::test::Trainings {
 public:
  SmallTraining() {
    std::filesystem::create_directory(data());
    for (int file = 0; file < 30; ++file) {
      std::string text;
      for (int line = 0; line < 20; ++line)
        text += "def f" + std::to_string(file * line % 7) + "(x):\n    return x + " +
                std::to_string(line % 5) + "  # the " + std::to_string(file % 3) + "rd\n";
      (void)directory_.write("texts/" + std::to_string(file) + ".py", text);
    }
  }

  [[nodiscard]] std::string data() const { return out("texts").string(); }

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
    return programs::test::last_of_each(all);
  }
  [[nodiscard]] Outcome train(const std::string& name, const Arguments& more = {}) const {
    return run_program(small("train", name, more));
  }
};

}  // namespace programs::next_character::test
