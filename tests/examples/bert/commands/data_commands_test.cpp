// SPDX-License-Identifier: MIT
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

#include <examples/bert/run_program.hpp>
#include <examples/programs/run_on_ranks.hpp>
#include <programs/commands/program.hpp>
#include <support/catch.hpp>

using namespace programs::bert::test;

namespace {

/// A folder with a vocabulary of nine pieces.
class SmallModel {
 public:
  SmallModel() {
    (void)directory_.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\n.\n");
  }
  [[nodiscard]] std::string folder() const { return directory_.path().string(); }
  [[nodiscard]] std::string text(const std::string& content) const {
    return directory_.write("text", content).string();
  }
  [[nodiscard]] std::string tokens(const std::string& content, const Arguments& more = {}) const {
    Arguments arguments = {"tokens", text(content), "--vocabulary", folder()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(arguments);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    return outcome.out;
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("bert tokens: a line for each line, whatever it holds", "[bert][commands]") {
  const SmallModel model;
  CHECK(model.tokens("") == "");
  CHECK(model.tokens("a") == "2 5 3\n");
  CHECK(model.tokens("a\n") == "2 5 3\n");
  CHECK(model.tokens("\n\na") == "2 3\n2 3\n2 5 3\n");
  constexpr char awkward[] =
      "a\rb\n\0\nA\xE2\x80\xA8"
      "b\f\n\xFF\xFE\n a\tb. \r\n[SEP]ab c\n";
  CHECK(model.tokens({awkward, sizeof awkward - 1}) ==
        "2 5 6 3\n2 3\n2 5 6 3\n2 3\n2 5 6 8 3\n2 3 5 7 1 3\n");
  CHECK(model.tokens(std::string(100'000, 'a') + "\nb") == "2 1 3\n2 6 3\n");
}

TEST_CASE("bert tokens: lines are cut, pairs at their longer text", "[bert][commands]") {
  const SmallModel model;
  CHECK(model.tokens("a b a b\na\n", {"--max-length", "4"}) == "2 5 6 3\n2 5 3\n");
  CHECK(model.tokens("a b", {"--max-length", "2"}) == "2 3\n");
  CHECK(model.tokens("a\tb\na\na\t\n\tb\ta\n", {"--pairs"}) ==
        "2 5 3 6 3\n2 5 3\n2 5 3 3\n2 3 6 5 3\n");
  CHECK(model.tokens("a a a\tb\n", {"--pairs", "--max-length=6"}) == "2 5 5 3 6 3\n");
  CHECK(model.tokens(std::string(2000, '.')).size() == 2 * 512);  // a digit and what is behind it
}

TEST_CASE("bert tokens: a file of pieces in place of a folder, and a text that comes in",
          "[bert][commands]") {
  const SmallModel model;
  CHECK(model.tokens("a", {}) == "2 5 3\n");
  std::istringstream text("a\nb");
  std::streambuf* const before = std::cin.rdbuf(text.rdbuf());
  const Outcome outcome = run_program({"tokens", "--vocabulary", model.folder() + "/vocab.txt"});
  std::cin.rdbuf(before);
  std::cin.clear();
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "2 5 3\n2 6 3\n");
}

TEST_CASE("bert tokens: what is wrong is said in one line", "[bert][commands]") {
  const SmallModel model;
  const std::string text = model.text("a");
  check_refused({"tokens", text}, "--vocabulary is required");
  check_refused({"tokens", text, "--vocabulary", ""}, "is empty, expected a value");
  check_refused({"tokens", text, "--vocabulary", "/nowhere"}, "/nowhere: cannot be opened");
  check_refused({"tokens", text, "--vocabulary", text}, "text: there is no piece [PAD]");
  check_refused({"tokens", "/nowhere", "--vocabulary", model.folder()},
                "/nowhere: cannot be opened");
  check_refused({"tokens", model.folder(), "--vocabulary", model.folder()},
                model.folder() + ": is a directory");
  const Arguments right = {"tokens", text, "--vocabulary", model.folder()};
  const auto with = [&](const Arguments& more) {
    Arguments all = right;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  check_refused(with({"--max-length", "1"}), "--max-length is 1, expected at least 2");
  check_refused(with({"--max-length", "2", "--pairs"}), "--max-length is 2, expected at least 3");
  check_refused(with({"--max-length", "x"}), "--max-length");
  check_refused(with({"more"}), "more");
}

TEST_CASE("bert: help lists what there is", "[bert][commands]") {
  const Outcome outcome = run_program({"--help"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("tokens ") && ContainsSubstring("Exit status"));
  check_refused({"token"}, "did you mean tokens?");
}

TEST_CASE("bert synthesize: a task of its own, once", "[bert][commands]") {
  const TemporaryDirectory directory;
  const std::string folder = (directory.path() / "made").string();
  const Outcome outcome = run_program({"synthesize", folder, "--train", "20", "--dev", "10"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out == folder + ": synthetic, NOT CoLA: 20 and 10 made-up sentences, seed 1\n");
  CHECK(std::filesystem::exists(directory.path() / "made/CoLA/dev.tsv"));
  check_refused({"synthesize", folder}, "exists already and is not replaced");
  check_refused({"synthesize", ""}, "DIR is empty, expected a value");
  check_refused({"synthesize", folder, "--seed=9999999999999999999"},
                "--seed is 9999999999999999999, expected at most 9223372036854775807");
  check_refused({"synthesize", folder, "--train", "1"}, "--train is 1, expected at least 2");
  check_refused({"synthesize", folder, "--dev", "10001"}, "--dev is 10001, expected at most 10000");
}

TEST_CASE("bert: no command runs on ranks, and none is said to", "[bert][commands][error]") {
  const TemporaryDirectory directory;
  const std::string folder = (directory.path() / "made").string();
  const auto outcomes = programs::test::run_on_ranks<Program>(2, {"synthesize", folder});
  CHECK(outcomes[0].code == 2);
  CHECK(outcomes[0].err == "bert: synthesize runs in one process, and there are 2\n");
  CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("programs: of what nobody foresaw the first line", "[bert][commands][error]") {
  CLI::App program("Fails.", "fail");
  programs::start_program(program);
  program.add_subcommand("now")->callback(
      [] { throw std::runtime_error("no room\nframe #0: <unknown function>"); });
  std::ostringstream out, err;
  const char* const arguments[] = {"fail", "now"};
  CHECK(programs::run_program(program, 2, arguments, {.out = out, .err = err}) == 1);
  CHECK(err.str() == "fail: no room\n");
}
