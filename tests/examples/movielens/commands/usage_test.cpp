// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/version.hpp>

#include <programs/commands/mpi.hpp>
#include <programs/commands/usage.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>

using programs::movielens::test::Outcome;
using programs::movielens::test::run_program;

namespace {

const std::vector<std::string> commands = {"train",     "compare", "tune",   "evaluate",
                                           "recommend", "budget",  "report", "synthesize"};

}  // namespace

TEST_CASE("movielens --help: every command, within 80 columns", "[movielens][usage]") {
  const std::string overview = run_program({"--help"}).out;
  for (const std::string& command : commands) {
    CHECK_THAT(overview, ContainsSubstring("\n  " + command + " "));
    const Outcome help = run_program({command, "--help"});
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK_THAT(help.out, ContainsSubstring("Usage: movielens " + command + " [OPTIONS]"));
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);) {
      INFO(command << ": " << line);
      CHECK(line.size() <= 80);
      CHECK(std::all_of(line.begin(), line.end(), [](char c) { return c >= ' '; }));
    }
  }
  const std::string train = run_program({"train", "--help"}).out;
  CHECK_THAT(train, ContainsSubstring("  --epochs N") && ContainsSubstring("(default 6)"));
  CHECK_THAT(train,
             ContainsSubstring("none, relaxed, swap\n") && ContainsSubstring("(default none)"));
  CHECK_THAT(train, ContainsSubstring("(required)"));
}

TEST_CASE("--help: a long list is broken after its commas", "[movielens][usage]") {
  std::vector<std::string> values(20, "comet_search");
  CLI::App program("Has a long list.", "long");
  program.add_option("--gates", values, "which gates")->delimiter(',')->capture_default_str();
  programs::use_plain_help(program);
  const std::string help = program.help();
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(line.size() <= 80);
  }
  std::string words = help;
  std::erase_if(words, [](char c) { return c == ' ' || c == '\n'; });
  std::string list = "(default" + values.front();
  for (std::size_t i = 1; i < values.size(); ++i) list += ',' + values[i];
  CHECK_THAT(words, ContainsSubstring(list + ')'));
}

TEST_CASE("movielens: an unknown word is named, with its neighbour", "[movielens][usage][error]") {
  const auto refused = [](const std::vector<std::string>& arguments, const std::string& reason) {
    const Outcome outcome = run_program(arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(outcome.err == "movielens: " + reason + "\n");
  };
  refused({"train", "--data", "x", "--epoch", "3"},
          "unknown option --epoch of train, did you mean --epochs?");
  refused({"train", "--learning_rate=1"},
          "unknown option --learning_rate of train, did you mean --learning-rate?");
  refused({"tune", "--sapce", "x"}, "unknown option --sapce of tune, did you mean --space?");
  refused({"train", "--data", "x", "--zzzzzzzz"}, "unknown option --zzzzzzzz of train");
  refused({"train", "--data=x", "--epochs=two"}, "--epochs is \"two\", expected a whole number");
  refused({"train", "--data=x", "--epochs=1.5"}, "--epochs is \"1.5\", expected a whole number");
  refused({"train", "--data=x", "--epochs=99999999999999"},
          "--epochs is \"99999999999999\", expected at most 2147483647");
  refused({"train", "--data=x", "--epochs=-99999999999999"},
          "--epochs is \"-99999999999999\", expected at least -2147483648");
  const std::string digits = "20261127131237000000000";
  refused({"train", "--data=x", "--seed=" + digits},
          "--seed is " + digits + ", expected at most 9223372036854775807");
  refused({"train", "--data=x", "--seed=-" + digits},
          "--seed is -" + digits + ", expected at least -9223372036854775808");
  refused({"compare", "--data=x", "--seeds=1,-" + digits},
          "--seeds is -" + digits + ", expected at least -9223372036854775808");
  for (const std::string list : {"1,", ",1", "1,,2", ","}) {
    const std::string lacks =
        "--seeds is \"" + list + "\", expected a value before and behind each comma";
    refused({"compare", "--data=x", "--seeds=" + list}, lacks);
    refused({"compare", "--data=x", "--seeds", list}, lacks);
    refused({"compare", "--data=x", "--seeds", "3", list}, lacks);
  }
  refused({"compare", "--data=,", "--gates=comet,"},
          "--gates is \"comet,\", expected a value before and behind each comma");
  // What is empty would be the present folder.
  refused({"synthesize", ""}, "DIR is empty, expected a value");
  refused({"synthesize", "x", "--seed=" + digits},
          "--seed is " + digits + ", expected at most 9223372036854775807");
  refused({"report", ""}, "DIR is empty, expected a value");
  refused({"report", "x", "--out", ""}, "--out is empty, expected a value");
  refused({"tune", "--data=x", "--space=x", "--results", ""},
          "--results is empty, expected a value");
  // Names and numbers that need not be whole may have any number of digits.
  refused({"train", "--data=" + digits, "--out=" + digits, "--learning-rate=100000000000000000000"},
          digits + ": cannot be opened: No such file or directory");
  refused({"train", "--data=x", "--learning-rate=1,5"},
          "--learning-rate is \"1,5\", expected a number");
  refused({"compare", "--data=x", "--seeds=1,x"}, "--seeds is \"x\", expected a whole number");
  refused({"train", "--data=x", "--epochs=1_000"},
          "--epochs is \"1_000\", expected a whole number");
  refused({"train", "--data=x", "--no-weights=maybe"}, "--no-weights takes no value");
  refused({"trian"}, "unknown command trian, did you mean train?");
  refused({"fly"}, "unknown command fly; movielens --help names them all");
  CHECK_THAT(
      run_program({"train", "--data=x", "--gate=comett"}).err,
      ContainsSubstring("\"comett\" is none of comet,") && EndsWith(", did you mean comet?\n"));
  CHECK_THAT(run_program({"evaluate", "--model=x", "--data=x", "--split=tst"}).err,
             EndsWith("\"tst\" is none of test,validation,train, did you mean test?\n"));
  refused({"train", "--data", "x", "extra"}, "train takes no argument \"extra\"");
}

TEST_CASE("movielens --version", "[movielens][usage]") {
  const Outcome outcome = run_program({"--version"});
  CHECK(outcome.code == 0);
  const std::string version = "movielens " + std::to_string(COMET_VERSION_MAJOR) + "." +
                              std::to_string(COMET_VERSION_MINOR) + "." +
                              std::to_string(COMET_VERSION_PATCH) + "\nMPI: ";
  const std::string mpi = programs::mpi_version();
  CHECK(outcome.out == version + (mpi.empty() ? "not built in" : mpi) + "\n");
}
