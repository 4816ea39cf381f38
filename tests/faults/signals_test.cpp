// SPDX-License-Identifier: MIT
// The program `movielens` when a signal meets it: what is finished stays, and --resume does the
// rest.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <faults/surroundings.hpp>
#include <support/catch.hpp>

using namespace programs::movielens::test;

TEST_CASE("a signal that meets a command while it reads ends it and costs nothing",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place original;
  prepare_place(original);
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
  const Outcome outcome = run(place, of_file(training("new")), nothing, [&](pid_t child) {
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
  std::string seeds = "1";  // more than a machine gets through before the signal, however busy
  for (int seed = 2; seed <= 60; ++seed) seeds += ',' + std::to_string(seed);
  const std::vector<Interrupted> commands = {
      {searching("new", {"--trials", "1000"}), searching("new", {"--trials", "4", "--resume"}),
       "new/tune/trials.jsonl", "new/tune/summary.json"},
      {comparing("new", {"--gates", "comet,top_k,softmax", "--seeds", seeds}),
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
      CHECK_THAT(content_of(waited), StartsWith(first.substr(0, first.find('\n') + 1)));
      // A killed run whose folder is not visited again may leave one.
      if (signal == SIGTERM) check_no_temporary_file(place);
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
