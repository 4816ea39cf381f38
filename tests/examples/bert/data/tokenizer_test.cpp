// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <bert/data/tokenizer.hpp>
#include <bert/data/vocabulary.hpp>

#include <examples/bert/small_vocabulary.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>

using namespace programs::bert;
using comet::test::Json;

namespace {

Encoded encoded(const Tokenizer& tokenizer, const Json& test, comet::Index max_length) {
  const auto text = test.at("text").get<std::string>();
  return test.at("pair").is_null()
             ? tokenizer.encode(text, max_length)
             : tokenizer.encode(text, test.at("pair").get<std::string>(), max_length);
}

/// The pieces of a text of the small vocabulary, with blanks between.
std::string shown(const std::string& text) {
  static const Tokenizer tokenizer(programs::bert::test::small_vocabulary());
  std::string result;
  for (const TokenId id : tokenizer.pieces(text))
    result += (result.empty() ? "" : " ") + tokenizer.vocabulary()[id];
  return result;
}

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

/// Where the pretrained model is, if it was obtained.
std::filesystem::path pretrained() {
  const char* const named = std::getenv("COMET_BERT_MODEL");
  return named != nullptr
             ? std::filesystem::path(named)
             : std::filesystem::path(COMET_TEST_DATA).parent_path().parent_path() / "data/minilm";
}

}  // namespace

TEST_CASE("tokenizer: what the reference makes of awkward texts, with a small vocabulary",
          "[bert][data]") {
  const Json file = programs::bert::test::small_tokens();
  const Tokenizer tokenizer(programs::bert::test::small_vocabulary());
  REQUIRE(file.at("cases").size() > 300);
  for (const Json& test : file.at("cases")) {
    CAPTURE(test.dump(-1, ' ', true));
    const Encoded result = encoded(tokenizer, test, test.at("max_length").get<comet::Index>());
    CHECK(result.ids == test.at("ids").get<std::vector<TokenId>>());
    REQUIRE(result.types.size() == result.ids.size());
    CHECK(std::is_sorted(result.types.begin(), result.types.end()));
    CHECK(std::count(result.types.begin(), result.types.end(), 1) ==
          test.at("second").get<std::ptrdiff_t>());
  }
}

TEST_CASE("tokenizer: what the reference makes of awkward texts, with the pretrained vocabulary",
          "[bert][data]") {
  const std::filesystem::path model = pretrained();
  if (!std::filesystem::exists(model / "vocab.txt")) {
    WARN("left out: there is no " << (model / "vocab.txt").string()
                                  << "; scripts/bert_data.sh obtains it, or name the folder of a "
                                     "model in COMET_BERT_MODEL");
    return;
  }
  const Json file = comet::test::golden("bert_tokens.json").at(0);
  const Tokenizer tokenizer(read_vocabulary(model, file.at("vocab_size").get<comet::Index>()));
  REQUIRE(file.at("cases").size() == 250);
  for (const Json& test : file.at("cases")) {
    CAPTURE(test.dump(-1, ' ', true));
    const Encoded result = encoded(tokenizer, test, file.at("max_length").get<comet::Index>());
    CHECK(result.ids == test.at("input_ids").get<std::vector<TokenId>>());
    CHECK(result.types == test.at("token_type_ids").get<std::vector<std::int32_t>>());
  }
}

TEST_CASE("tokenizer: the longest piece first, and words that have none", "[bert][data]") {
  CHECK(shown("unable Walked") == "un ##able walk ##ed");
  CHECK(shown("abc abcabc") == "abc abc ##a ##bc");
  CHECK(shown("the\xE3\x81\x84") == "[UNK]");  // no piece for a part: none for the word
  CHECK(shown("a ## b") == "a # # b");
  CHECK(shown("") == "");
}

TEST_CASE("tokenizer: a word may have a hundred characters, however many bytes", "[bert][data]") {
  const std::string sigma = "\xCF\x83", grinning = "\xF0\x9F\x98\x80";
  CHECK(shown(repeated("a", 100)) == "a" + repeated(" ##a", 99));
  CHECK(shown(repeated("a", 101)) == "[UNK]");
  CHECK(shown(repeated(sigma, 100)) == sigma + repeated(" ##" + sigma, 99));
  CHECK(shown(repeated(sigma, 101)) == "[UNK]");
  CHECK(shown(repeated(grinning, 100)) == grinning + repeated(" ##" + grinning, 99));
  CHECK(shown(repeated("a\xCC\x81", 100)) == "a" + repeated(" ##a", 99));  // without their accents
}

TEST_CASE("tokenizer: bytes that are no UTF-8 are left out", "[bert][data]") {
  CHECK(shown("a\xFF\xFE\x80z") == "a ##z");
  CHECK(shown("a\xC3") == "a");                           // cut off
  CHECK(shown("a\xED\xA0\x80z") == "a ##z");              // a surrogate
  CHECK(shown("a\xC0\xAFz\xF4\x90\x80\x80") == "a ##z");  // over-long, and beyond U+10FFFF
  CHECK(shown(std::string("a\0z", 3)) == "a ##z");
  CHECK(shown("[SE\xFFP]") == "[ sep ]");  // what is left out makes no special piece
}

TEST_CASE("tokenizer: room for nothing is refused", "[bert][data]") {
  const Tokenizer tokenizer(programs::bert::test::small_vocabulary());
  CHECK(tokenizer.encode("a b c", 2).ids == std::vector<TokenId>{2, 3});
  CHECK(tokenizer.encode("a b c", "d", 3).ids == std::vector<TokenId>{2, 3, 3});
  CHECK_THROWS_WITH(tokenizer.encode("a", 1),
                    "comet::Tokenizer::encode: max_length is 1, expected at least 2");
  CHECK_THROWS_WITH(tokenizer.encode("a", "b", 2),
                    "comet::Tokenizer::encode: max_length is 2, expected at least 3");
}
