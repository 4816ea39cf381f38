// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>

#include <movielens/commands/program.hpp>

#include <examples/programs/run_program.hpp>

/// \file
/// \brief The program on a set and a model so small that a training takes some hundredths of a
/// second.

namespace programs::movielens::test {

using programs::test::Arguments;
using programs::test::content_of;
using programs::test::lines_in;
using programs::test::Outcome;
using programs::test::TemporaryDirectory;

struct Program {
  static constexpr const char* name = "movielens";
  static constexpr auto run = programs::movielens::run;
};
using Child = programs::test::Child<Program>;

inline Outcome run_program(const Arguments& arguments, bool err_is_terminal = false) {
  return programs::test::run_program<Program>(arguments, err_is_terminal);
}

/// Made-up ratings, and trainings on them.
class SmallTraining : public programs::test::Trainings {
 public:
  SmallTraining() {
    const Outcome outcome =
        run_program({"synthesize", data(), "--users", "30", "--items", "40", "--ratings", "400"});
    if (outcome.code != 0) throw std::runtime_error(outcome.err);
  }

  [[nodiscard]] std::string data() const { return out("data").string(); }

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
    return programs::test::last_of_each(all);
  }
  [[nodiscard]] Outcome train(const std::string& name, const Arguments& more = {}) const {
    return run_program(arguments(name, more));
  }
};

}  // namespace programs::movielens::test
