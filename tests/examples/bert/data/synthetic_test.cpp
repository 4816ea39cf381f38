// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/io/file_error.hpp>

#include <bert/data/synthetic.hpp>
#include <bert/data/tasks.hpp>
#include <programs/base/files.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::bert;
using comet::test::TemporaryDirectory;

namespace {

using Words = std::vector<std::string>;

bool is_one_of(const std::string& word, const Words& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// The words of a sentence, in lower case and without its full stop.
Words words_in(std::string sentence) {
  sentence[0] = static_cast<char>(sentence[0] - 'A' + 'a');
  sentence.back() = ' ';
  Words words;
  for (std::string word; const char c : sentence)
    if (c == ' ')
      words.push_back(std::exchange(word, ""));
    else
      word += c;
  return words;
}

/// Do determiner, noun and verb follow one another and agree?
bool is_right(const std::string& sentence) {
  static const Words of_one = {"this", "that", "every", "each", "one", "another"};
  static const Words of_many = {"these", "those", "many", "several", "two", "some"};
  static const Words verbs = {"sleep", "sing",  "wait", "laugh", "work",  "run",
                              "dream", "shout", "walk", "smile", "dance", "read",
                              "write", "think", "jump", "fall"};
  static const Words adjectives = {"old",   "young", "quiet", "tall",  "clever",  "tired",
                                   "happy", "small", "brave", "proud", "strange", "gentle"};
  static const Words places = {"near", "behind", "beside", "before"};
  const Words words = words_in(sentence);
  std::size_t next = 0;
  const bool may_be_one = words[next] == "the" || is_one_of(words[next], of_one);
  const bool may_be_many = words[next] == "the" || is_one_of(words[next], of_many);
  ++next;
  if (is_one_of(words[next], adjectives)) ++next;
  const bool are_many = words[next++].ends_with('s');
  if (is_one_of(words[next], places)) next += 3;
  const std::string verb = words[next];
  const bool verb_is_of_many = is_one_of(verb, verbs);
  const bool verb_is_of_one =
      verb.ends_with('s') && is_one_of(verb.substr(0, verb.size() - 1), verbs);
  return are_many ? may_be_many && verb_is_of_many : may_be_one && verb_is_of_one;
}

}  // namespace

TEST_CASE("synthetic sentences: half are faulty, none is there twice, all follow from the seed",
          "[bert][data]") {
  const comet::RandomKey key(1);
  const std::vector<Example> examples = make_synthetic_sentences(20'000, key);
  REQUIRE(examples.size() == 20'000);
  std::set<std::string> seen;
  double right = 0;
  for (const Example& example : examples) {
    CHECK(seen.insert(example.first).second);
    right += example.label;
  }
  CHECK(right == 10'000);
  const auto first_of = [](const std::vector<Example>& all) { return all.front().first; };
  CHECK(first_of(make_synthetic_sentences(100, key)) ==
        first_of(make_synthetic_sentences(100, key)));
  CHECK(first_of(make_synthetic_sentences(100, key)) !=
        first_of(make_synthetic_sentences(100, comet::RandomKey(2))));
}

TEST_CASE("synthetic sentences: their labels are what a reader of English would say",
          "[bert][data]") {
  for (const Example& example : make_synthetic_sentences(5000, comet::RandomKey(3))) {
    CAPTURE(example.first);
    CHECK(is_right(example.first) == (example.label > 0));
  }
}

TEST_CASE("synthetic sentences: written and read again, and named as made up", "[bert][data]") {
  const TemporaryDirectory directory;
  const auto examples = make_synthetic_sentences(30, comet::RandomKey(1));
  const std::span<const Example> all(examples);
  const auto folder = directory.path() / "made";
  write_synthetic(folder, all.first(20), all.subspan(20), "synthetic, seed 1");
  const Task& task = task_named("CoLA");
  const auto train = read_split(task, folder, "train"), dev = read_split(task, folder, "dev");
  REQUIRE(train.size() == 20);
  REQUIRE(dev.size() == 10);
  for (std::size_t i = 0; i < 30; ++i) {
    const Example& read = i < 20 ? train[i] : dev[i - 20];
    CHECK(read.first == examples[i].first);
    CHECK(read.label == examples[i].label);
  }
  CHECK(programs::source_of(folder) == "synthetic, seed 1");
  CHECK_THROWS_WITH(write_synthetic(folder, all, all, "x"),
                    (folder / "CoLA/train.tsv").string() + ": exists already and is not replaced");
}
