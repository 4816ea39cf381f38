// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <comet/core/random.hpp>

#include <two_pictures/commands/program.hpp>
#include <two_pictures/data/synthetic.hpp>

#include <examples/programs/run_program.hpp>

/// \file
/// \brief The program on pictures and a model so small that a training takes some tenths of a
/// second.

namespace programs::two_pictures::test {

using programs::test::Arguments;
using programs::test::content_of;
using programs::test::Outcome;
using programs::test::TemporaryDirectory;

struct Program {
  static constexpr const char* name = "two_pictures";
  static constexpr auto run = programs::two_pictures::run;
};
using Child = programs::test::Child<Program>;

inline Outcome run_program(const Arguments& arguments) {
  return programs::test::run_program<Program>(arguments);
}

/// A folder of made-up pictures, and trainings on them.
class SmallTraining : public programs::test::Trainings {
 public:
  SmallTraining() {
    const comet::RandomKey key(1);
    write_synthetic(data(), make_synthetic_pictures(240, key.fold(0)),
                    make_synthetic_pictures(60, key.fold(1)), "made up");
  }

  [[nodiscard]] std::string data() const { return out("pictures").string(); }

  /// Of what makes the model and the training small.
  [[nodiscard]] Arguments small(const std::string& command, const std::string& name,
                                const Arguments& more = {}) const {
    Arguments all = {command,           "--data=" + data(),     "--out=" + out(name).string(),
                     "--experts=4",     "--filters=2",          "--second-filters=3",
                     "--expert-dim=6",  "--head-dim=6",         "--epochs=2",
                     "--batch-size=50", "--learning-rate=0.01", "--threads=1",
                     "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    return programs::test::last_of_each(all);
  }
  [[nodiscard]] Outcome train(const std::string& name, const Arguments& more = {}) const {
    return run_program(small("train", name, more));
  }
};

}  // namespace programs::two_pictures::test
