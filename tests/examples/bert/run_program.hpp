// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <bert/commands/program.hpp>

#include <examples/programs/run_program.hpp>

namespace programs::bert::test {

using programs::test::Arguments;
using programs::test::Outcome;
using programs::test::TemporaryDirectory;

struct Program {
  static constexpr const char* name = "bert";
  static constexpr auto run = programs::bert::run;
};

inline Outcome run_program(const Arguments& arguments) {
  return programs::test::run_program<Program>(arguments);
}

inline void check_refused(const Arguments& arguments, const std::string& reason) {
  programs::test::check_refused<Program>(arguments, reason);
}

}  // namespace programs::bert::test
