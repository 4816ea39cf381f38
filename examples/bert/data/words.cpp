// SPDX-License-Identifier: MIT
#include <bert/data/words.hpp>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace programs::bert {
namespace {

struct Range {
  UChar32 first, last;
};

/// Chinese, Japanese without kana, and old Korean. The block of U+2B820 begins at U+2B920 here, as
/// it does in the tokenizer that models are used with.
constexpr Range ideographs[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};

bool is_ideograph(UChar32 c) {
  return std::any_of(std::begin(ideographs), std::end(ideographs),
                     [c](const Range& range) { return range.first <= c && c <= range.last; });
}

constexpr std::uint8_t age_of_categories = 8;

/// One of the masks U_GC_..._MASK.
std::uint32_t category_of(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  const bool is_known = age[0] < age_of_categories || (age[0] == age_of_categories && age[1] == 0);
  return is_known ? U_GET_GC_MASK(c) : U_GC_CN_MASK;
}

bool is_left_out(UChar32 c) {
  return c == 0xFFFD || (category_of(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool is_blank(UChar32 c) {
  return c == '\t' || c == '\n' || c == '\r' || (category_of(c) & U_GC_Z_MASK) != 0;
}

bool is_punctuation(UChar32 c) {
  const bool is_of_ascii = c > 0x20 && c < 0x7F && !u_isalnum(c);
  return is_of_ascii || (category_of(c) & U_GC_P_MASK) != 0;
}

template <class Visit>
void for_each_character(const icu::UnicodeString& text, Visit visit) {
  for (std::int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) visit(text.char32At(i));
}

icu::UnicodeString cleaned(std::string_view utf8) {
  if (utf8.size() > std::size_t(std::numeric_limits<std::int32_t>::max()))
    throw std::invalid_argument("a text of more than 2 GiB");
  icu::UnicodeString result;
  const auto text =
      icu::UnicodeString::fromUTF8(icu::StringPiece(utf8.data(), std::int32_t(utf8.size())));
  for_each_character(text, [&](UChar32 c) {
    if (is_blank(c)) {
      result.append(' ');
    } else if (is_ideograph(c)) {
      result.append(' ').append(c).append(' ');
    } else if (!is_left_out(c)) {
      result.append(c);
    }
  });
  return result;
}

icu::UnicodeString decomposed(const icu::UnicodeString& text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const decomposition = icu::Normalizer2::getNFDInstance(error);
  if (U_FAILURE(error)) throw std::runtime_error(u_errorName(error));
  icu::UnicodeString result = decomposition->normalize(text, error);
  if (U_FAILURE(error)) throw std::runtime_error(u_errorName(error));
  return result;
}

void append(UChar32 c, Word& word) {
  icu::StringByteSink<std::string> sink(&word.text);
  icu::UnicodeString(c).toUTF8(sink);
  ++word.characters;
}

}  // namespace

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> words;
  bool goes_on = false;  // the last one
  for_each_character(decomposed(cleaned(text)), [&](UChar32 decomposed_character) {
    if (category_of(decomposed_character) == U_GC_MN_MASK) return;
    const UChar32 c = u_tolower(decomposed_character);
    if (is_blank(c)) {
      goes_on = false;
      return;
    }
    const bool stands_alone = is_punctuation(c);
    if (!goes_on || stands_alone) words.emplace_back();
    append(c, words.back());
    goes_on = !stands_alone;
  });
  return words;
}

}  // namespace programs::bert
