// SPDX-License-Identifier: MIT
#include <filesystem>
#include <string>
#include <vector>

#include <comet/io/file_error.hpp>

#include <bert/data/vocabulary.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::bert;
using comet::test::TemporaryDirectory;

namespace {

const std::string good = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n##s\n";

/// What vocab.txt is refused with, but for its folder.
std::string refused(const std::string& content, comet::Index size = 0) {
  const TemporaryDirectory directory;
  (void)directory.write("vocab.txt", content);
  try {
    (void)read_vocabulary(directory.path(), size);
  } catch (const comet::FileError& error) {
    const std::string text = error.what(), folder = directory.path().string() + "/";
    CHECK(text.starts_with(folder));
    return text.substr(folder.size());
  }
  return "not refused";
}

}  // namespace

TEST_CASE("vocabulary: a piece a line, numbered from 0", "[bert][data]") {
  const TemporaryDirectory directory;
  const auto file = directory.write("vocab.txt", good);
  for (const auto& place : {file, directory.path()}) {
    const Vocabulary vocabulary = read_vocabulary(place, 7);
    CHECK(vocabulary.size() == 7);
    CHECK(vocabulary.padding() == 0);
    CHECK(vocabulary.unknown() == 1);
    CHECK(vocabulary.beginning() == 2);
    CHECK(vocabulary.separator() == 3);
    CHECK(vocabulary.mask() == 4);
    CHECK(vocabulary.find("the") == 5);
    CHECK(vocabulary.find("##s") == 6);
    CHECK_FALSE(vocabulary.find("s"));
    CHECK_FALSE(vocabulary.find(""));
    CHECK(vocabulary[5] == "the");
  }
}

TEST_CASE("vocabulary: ends of lines and the order of special pieces do not matter",
          "[bert][data]") {
  const TemporaryDirectory directory;
  const auto file =
      directory.write("any name", "the\r\n[SEP]\r\n[CLS]\r\n[PAD]\r\n[MASK]\r\n[UNK]");
  const Vocabulary vocabulary = read_vocabulary(file);
  CHECK(vocabulary.size() == 6);
  CHECK(vocabulary.find("the") == 0);
  CHECK(vocabulary.separator() == 1);
  CHECK(vocabulary.unknown() == 5);
}

TEST_CASE("vocabulary: what is none is refused in one line", "[bert][data]") {
  CHECK(refused("") == "vocab.txt: is empty, expected a piece a line");
  CHECK(refused(good + "the\n") == "vocab.txt:8: \"the\" is on line 6, too");
  CHECK(refused(good + "\nan\n") == "vocab.txt:8: is empty, expected a piece");
  for (const std::string special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    std::string without = good;
    without.replace(without.find(special), special.size(), "x");
    CHECK(refused(without) == "vocab.txt: there is no piece " + special);
  }
  CHECK(refused(good, 8) == "vocab.txt: has 7 pieces, expected 8, the vocab_size of the model");
  CHECK_THROWS_WITH(read_vocabulary("/nowhere/vocab.txt"), "/nowhere/vocab.txt: cannot be opened");
  CHECK_THROWS_WITH(Vocabulary({"[PAD]", "a", "a"}), "the piece \"a\" is there twice");
  CHECK_THROWS_WITH(Vocabulary({"[PAD]", ""}), "piece 1 is empty");
}

TEST_CASE("vocabulary: a model whose texts were cut another way is refused", "[bert][data]") {
  const TemporaryDirectory directory;
  (void)directory.write("vocab.txt", good);
  const auto config = directory.write("tokenizer_config.json", R"({"do_lower_case": true})");
  CHECK(read_vocabulary(directory.path()).size() == 7);
  (void)directory.write("tokenizer_config.json", R"({"do_lower_case": false})");
  CHECK_THROWS_WITH(
      read_vocabulary(directory.path()),
      config.string() + ": says do_lower_case = false: only models of lower case can be used");
  (void)directory.write("tokenizer_config.json", R"({"strip_accents": null})");
  CHECK(read_vocabulary(directory.path()).size() == 7);
  for (const std::string key : {"strip_accents", "tokenize_chinese_chars"}) {
    (void)directory.write("tokenizer_config.json", "{\"" + key + "\": false}");
    CHECK_THROWS_WITH(read_vocabulary(directory.path()),
                      StartsWith(config.string() + ": says " + key + " = false: "));
  }
  (void)directory.write("tokenizer_config.json", "{");
  CHECK_THROWS_WITH(read_vocabulary(directory.path()), config.string() + ": is no JSON object");
}
