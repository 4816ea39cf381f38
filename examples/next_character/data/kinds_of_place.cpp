// SPDX-License-Identifier: MIT
#include <next_character/data/kinds_of_place.hpp>

#include <algorithm>

namespace programs::next_character {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
/// Bytes of other alphabets are letters.
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// Where the string that begins here ends: behind its quote, or with its line.
std::size_t end_of_string(std::string_view text, std::size_t first) {
  const char quote = text[first];
  const std::string_view three = text.substr(first, 3);
  const bool is_long = three.size() == 3 && three[1] == quote && three[2] == quote;
  for (std::size_t i = first + (is_long ? 3 : 1); i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (is_long) {
      if (text.substr(i, 3) == three) return i + 3;
    } else if (text[i] == quote) {
      return i + 1;
    } else if (text[i] == '\n') {
      return i;
    }
  }
  return text.size();
}

template <class Holds>
std::size_t end_of(std::string_view text, std::size_t first, Holds holds) {
  std::size_t i = first;
  while (i < text.size() && holds(text[i])) ++i;
  return i;
}

}  // namespace

std::vector<KindOfPlace> kinds_of_place(std::string_view text) {
  std::vector<KindOfPlace> kinds;
  kinds.reserve(text.size());
  bool at_start_of_line = true;
  while (kinds.size() < text.size()) {
    const std::size_t i = kinds.size();
    const char c = text[i];
    const auto is_of_word = [](char each) { return is_letter(each) || is_digit(each); };
    std::size_t end = i + 1;
    KindOfPlace kind = KindOfPlace::punctuation;
    if (at_start_of_line && (c == ' ' || c == '\t')) {
      kind = KindOfPlace::indentation;
      end = end_of(text, i, [](char each) { return each == ' ' || each == '\t'; });
    } else if (is_blank(c)) {
      kind = KindOfPlace::blank;
    } else if (c == '#') {
      kind = KindOfPlace::comment;
      end = end_of(text, i, [](char each) { return each != '\n'; });
    } else if (c == '"' || c == '\'') {
      kind = KindOfPlace::string;
      end = end_of_string(text, i);
    } else if (is_digit(c)) {
      kind = KindOfPlace::number;
      end = end_of(text, i, [&](char each) { return is_of_word(each) || each == '.'; });
    } else if (is_letter(c)) {
      kind = KindOfPlace::name;
      end = end_of(text, i, is_of_word);
    }
    kinds.resize(std::min(end, text.size()), kind);
    at_start_of_line = text[kinds.size() - 1] == '\n';
  }
  return kinds;
}

}  // namespace programs::next_character
