// SPDX-License-Identifier: MIT
// The program `movielens` when its surroundings fail: every command ends with its exit code and one
// line, and what was there before is as it was.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <faults/surroundings.hpp>
#include <support/catch.hpp>

using namespace programs::movielens::test;

namespace {

struct Fault {
  std::string name;
  Arguments arguments;
  int code;
  std::string line;  // a part of it
  std::function<void(const Place&)> arrange = [](const Place&) {};
  Preparation prepare = nothing;
};

void check(const Place& original, const Fault& fault) {
  const Place place;
  copy(original, place);
  fault.arrange(place);
  const Contents before = finished(place);
  const Outcome outcome = run(place, fault.arguments, fault.prepare);
  INFO(fault.name << ": movielens " << fault.arguments.front() << " ... "
                  << fault.arguments.back());
  INFO(outcome.err);
  if (outcome.code == not_possible_here) {
    WARN(fault.name << ": not possible here, skipped");
    return;
  }
  CHECK(outcome.code == fault.code);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == (fault.code == 0 ? 0 : 1));
  if (fault.code != 0)
    CHECK_THAT(outcome.err, StartsWith("movielens: ") && ContainsSubstring(fault.line));
  // A training into the folder of an older one begins by taking away all that is in it.
  if (fault.arguments != training("old")) CHECK(finished(place) == before);
  check_no_temporary_file(place);
}

}  // namespace

TEST_CASE("every fault ends every command with one line and its exit code; older results stay",
          "[movielens][faults]") {
  if (!is_built()) return;
  const auto no_change = [](const Place&) {};
  const auto without = [](const char* file) {
    return [file](const Place& p) { std::filesystem::remove_all(p.path() / file); };
  };
  const auto half_of = [](const char* file) {
    return [file](const Place& p) { cut(p.path() / file, 0.5); };
  };
  const auto unreadable = [](const char* file) {
    return [file](const Place& p) { make_unreadable(p.path() / file); };
  };
  const auto huge = [](const char* file) {
    return [file](const Place& p) { std::filesystem::resize_file(p.path() / file, 1U << 30U); };
  };
  const auto half_a_row = [](const Place& p) {
    std::ofstream(p.path() / "data/ratings.csv", std::ios::app) << "19,7";
  };
  const auto half_a_trial = [](const Place& p) {
    std::ofstream(p.path() / "study/tune/trials.jsonl", std::ios::app) << "{\"trial\": 1,\n";
  };
  const auto half_an_epoch = [](const Place& p) {
    std::ofstream(p.path() / "old/metrics.jsonl", std::ios::app) << "{\"epoch\": 2,";
  };
  const auto half_a_checkpoint = [](const Place& p) {
    std::filesystem::create_directory(p.path() / "new");
    const auto checkpoint = p.path() / "new/checkpoint.safetensors";
    std::filesystem::copy_file(p.path() / "old/model.safetensors", checkpoint);
    cut(checkpoint, 0.7);
  };
  const auto in_the_way = [](const Place& p) { p.write("new", "a file"); };
  const auto many_epochs = [](const Place& p) {
    std::ofstream file(p.path() / "old/metrics.jsonl");
    for (int i = 0; i < 1'200'000; ++i) file << "{}\n";
  };
  const Arguments pretrained = training("new", {"--from-pretrained", "old/model.safetensors"});
  const Arguments too_large = {"--experts", "1000000"};

  const Place place;  // each fault gets a copy of it
  prepare_place(place);
  std::vector<Fault> faults = {
      {"missing trials", budget, 2, "trials.jsonl: ", without("study")},
      {"missing training", report, 2, "old: ", without("old")},
      {"row cut short", budget, 2, "trials.jsonl:2: ", half_a_trial},
      {"row cut short", report, 2, "metrics.jsonl:2: ", half_an_epoch},
      {"missing model", evaluate, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"missing model", recommend, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"missing model", pretrained, 2, "model.safetensors: cannot be read",
       without("old/model.safetensors")},
      {"model cut short", evaluate, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"model cut short", recommend, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"model cut short", pretrained, 2, "model.safetensors: ", half_of("old/model.safetensors")},
      {"checkpoint cut short", training("new", {"--resume"}), 2,
       "checkpoint.safetensors: ", half_a_checkpoint},
      {"missing space", searching("new"), 2, "space.json: cannot be opened", without("space.json")},
      {"space cut short", searching("new"), 2, "space.json: ", half_of("space.json")},
      {"unreadable", evaluate, 2, "model.safetensors: ", unreadable("old/model.safetensors")},
      {"unreadable", budget, 2, "trials.jsonl: cannot be read",
       unreadable("study/tune/trials.jsonl")},
      {"unreadable", report, 2, "metrics.jsonl: cannot be read", unreadable("old/metrics.jsonl")},
      {"a file for a folder", training("new"), 2, "new", in_the_way},
      {"a file for a folder", searching("new"), 2, "new", in_the_way},
      {"a file for a folder", comparing("new"), 2, "new", in_the_way},
      {"a file for a folder", synthesize, 2, "new", in_the_way},
      {"a file for a folder", budget, 2, "new", in_the_way},
      {"a file for a folder", report, 2, "new", in_the_way},
      {"read-only folder", evaluate, 0, "", no_change, read_only},
      {"read-only folder", recommend, 0, "", no_change, read_only},
      {"full disk", training("new"), 2, "cannot be written", no_change, full_disk(3000)},
      {"full disk", training("old"), 2, "cannot be written", no_change, full_disk(3000)},
      {"full disk", evaluate, 0, "", no_change, full_disk(20)},
      {"full disk", recommend, 0, "", no_change, full_disk(20)},
      {"out of memory", training("new", {"--expert-dim", "500000", "--embedding-dim", "1000"}), 2,
       "", no_change, little_memory(512)},
      {"out of memory", training("new", too_large), 2, "", no_change, little_memory(512)},
      {"out of memory", searching("new", joined({"--trials", "1"}, too_large)), 2, "", no_change,
       little_memory(512)},
      {"out of memory", comparing("new", too_large), 2, "", no_change, little_memory(512)},
      {"out of memory", evaluate, 2, "", huge("old/model.safetensors"), little_memory(512)},
      {"out of memory", recommend, 2, "", huge("old/model.safetensors"), little_memory(512)},
      {"out of memory", joined(synthesize, {"--users", "100000000", "--ratings", "100000000"}), 2,
       "", no_change, little_memory(512)},
      {"out of memory", budget, 2, "", huge("study/tune/trials.jsonl"), little_memory(64)},
      {"out of memory", report, 2, "", many_epochs, little_memory(64)},
  };
  for (const Arguments& reader :
       {training("new"), searching("new"), comparing("new"), evaluate, recommend}) {
    faults.push_back({"missing data", reader, 2, "data", without("data")});
    faults.push_back({"row cut short", reader, 2, "ratings.csv:202: ", half_a_row});
    faults.push_back(
        {"unreadable", reader, 2, "ratings.csv:1: cannot be read", unreadable("data/ratings.csv")});
  }
  for (const Arguments& writer :
       {training("new"), searching("new"), comparing("new"), synthesize, budget, report})
    faults.push_back(
        {"read-only folder", writer, 2, "Read-only file system", no_change, read_only});
  for (const Arguments& writer : {searching("new"), comparing("new"), synthesize, budget, report})
    faults.push_back({"full disk", writer, 2, "cannot be written", no_change, full_disk(20)});
  const Arguments help{"train", "--help"}, version{"--version"};
  for (const Arguments& command : {training("new"), searching("new"), comparing("new"), evaluate,
                                   recommend, synthesize, budget, report, help, version}) {
    const std::string line = "the results cannot be written";
    faults.push_back({"full output", command, 1, line, no_change, full_output});
    faults.push_back({"closed pipe", command, 1, line, no_change, closed_pipe});
  }
  for (Fault& fault : faults) {
    if (fault.name == "out of memory") {
      if (is_sanitized) continue;  // they reserve the address space
      fault.line = "not enough memory";
    }
    check(place, fault);
  }
}

TEST_CASE("a file that loses its name while it is read is read to its end; one that ends is cut",
          "[movielens][faults]") {
  if (!is_built()) return;
  const Place original;
  prepare_place(original);
  for (const Reader& reader : readers)
    for (const bool whole : {true, false}) {
      const Place place;
      copy(original, place);
      const Pipe pipe(place.path() / reader.file);
      const std::size_t half = pipe.content.find(',', pipe.content.size() / 2);
      const Outcome outcome = run(place, reader.arguments, nothing, [&](pid_t child) {
        const int end = pipe.opened_by(child);
        if (end < 0) return;
        write_to(end, std::string_view(pipe.content).substr(0, half));
        std::filesystem::remove(pipe.path);
        if (whole) write_to(end, std::string_view(pipe.content).substr(half));
        ::close(end);
      });
      INFO("movielens " << reader.arguments[0] << ", whole: " << whole << ": " << outcome.err);
      CHECK_FALSE(std::filesystem::exists(pipe.path));
      CHECK(outcome.code == (whole ? 0 : 2));
      if (!whole) {
        CHECK_THAT(outcome.err, StartsWith("movielens: ") && ContainsSubstring(reader.cut_short));
        CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
      }
    }
}
