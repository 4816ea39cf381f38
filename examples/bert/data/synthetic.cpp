// SPDX-License-Identifier: MIT
#include <bert/data/synthetic.hpp>

#include <array>
#include <set>
#include <string>
#include <utility>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::bert {
namespace {

using Words = std::vector<std::string>;

template <std::size_t n>
using List = std::array<const char*, n>;

constexpr List<8> one = {"the", "this", "that", "every", "each", "one", "another", "the"};
constexpr List<8> many = {"the", "these", "those", "many", "several", "two", "some", "the"};
constexpr List<12> adjectives = {"old",   "young", "quiet", "tall",  "clever",  "tired",
                                 "happy", "small", "brave", "proud", "strange", "gentle"};
constexpr List<20> nouns = {"dog",    "girl",   "sailor", "teacher", "bird",   "doctor", "artist",
                            "farmer", "king",   "driver", "student", "friend", "robot",  "singer",
                            "lawyer", "worker", "horse",  "boy",     "writer", "soldier"};
constexpr List<4> places = {"near", "behind", "beside", "before"};
constexpr List<16> verbs = {"sleep", "sing",  "wait",  "laugh", "work",  "run",   "dream", "shout",
                            "walk",  "smile", "dance", "read",  "write", "think", "jump",  "fall"};
constexpr List<10> adverbs = {"often",     "quietly",   "slowly", "at night", "every day",
                              "in winter", "sometimes", "alone",  "again",    "without a word"};

/// A sentence as it grows.
struct Draft {
  comet::RandomKey key;
  std::uint64_t drawn = 0;

  [[nodiscard]] std::size_t below(std::size_t bound) {
    return std::size_t(key.index(drawn++, bound));
  }
  template <std::size_t n>
  [[nodiscard]] std::string any(const List<n>& words) {
    return words[below(n)];
  }
  [[nodiscard]] std::string noun(bool is_one) {
    return any(nouns) + std::string(is_one ? "" : "s");
  }
};

enum class Fault { number_of_verb, number_of_determiner, order, no_verb, none };
constexpr std::size_t num_faults = 4;

Words words_of(Draft& draft, Fault fault) {
  const bool is_one = draft.below(2) == 0;
  const auto determiner = [&](bool of_one) { return of_one ? draft.any(one) : draft.any(many); };
  Words words = {determiner(is_one != (fault == Fault::number_of_determiner))};
  if (draft.below(2) == 0) words.push_back(draft.any(adjectives));
  words.push_back(draft.noun(is_one));
  if (draft.below(2) == 0) {  // a noun of any number stands before the verb
    const bool next_is_one = draft.below(2) == 0;
    words.push_back(draft.any(places));
    words.push_back(determiner(next_is_one));
    words.push_back(draft.noun(next_is_one));
  }
  const bool verb_of_one = is_one != (fault == Fault::number_of_verb);
  if (fault != Fault::no_verb) words.push_back(draft.any(verbs) + (verb_of_one ? "s" : ""));
  words.push_back(draft.any(adverbs));
  if (fault == Fault::order) std::swap(words[0], words[1]);
  return words;
}

/// "the" is of any number.
bool is_faulty(const Words& words, Fault fault) {
  return fault != Fault::number_of_determiner || words[0] != "the";
}

std::string sentence_of(const Words& words) {
  std::string sentence;
  for (const std::string& word : words) sentence += (sentence.empty() ? "" : " ") + word;
  sentence[0] = static_cast<char>(sentence[0] - 'a' + 'A');
  return sentence + '.';
}

std::string rows_of(std::span<const Example> examples) {
  std::string rows;
  for (const Example& example : examples)
    rows += (example.label > 0 ? "made\t1\t\t" : "made\t0\t*\t") + example.first + '\n';
  return rows;
}

}  // namespace

std::vector<Example> make_synthetic_sentences(std::int64_t count, comet::RandomKey key) {
  std::vector<Example> examples;
  std::set<std::string> seen;
  for (std::uint64_t i = 0; examples.size() < std::size_t(count); ++i) {
    Draft draft{.key = key.fold(i)};
    const bool is_right = examples.size() % 2 == 0;
    const Fault fault = is_right ? Fault::none : Fault(draft.below(num_faults));
    const Words words = words_of(draft, fault);
    std::string sentence = sentence_of(words);
    if (is_right || is_faulty(words, fault))
      if (seen.insert(sentence).second)
        examples.push_back({.first = std::move(sentence), .label = is_right ? 1.0 : 0.0});
  }
  key.shuffle(std::span(examples));
  return examples;
}

void write_synthetic(const std::filesystem::path& folder, std::span<const Example> train,
                     std::span<const Example> dev, std::string_view source) {
  for (const char* const name : {"CoLA/train.tsv", "CoLA/dev.tsv", "SOURCE"})
    if (std::filesystem::exists(folder / name))
      throw FileError(folder / name, "exists already and is not replaced");
  make_directories(folder / "CoLA");
  // SOURCE first: at no moment are there made-up sentences without the note that says so.
  write_atomically(folder / "SOURCE", std::string(source) + "\n");
  write_atomically(folder / "CoLA" / "train.tsv", rows_of(train));
  write_atomically(folder / "CoLA" / "dev.tsv", rows_of(dev));
}

}  // namespace programs::bert
