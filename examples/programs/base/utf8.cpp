// SPDX-License-Identifier: MIT
#include <programs/base/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace programs {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Number of bytes of the character that starts the text; 0 if it is not one of UTF-8. Over-long
/// forms, surrogates and values beyond U+10FFFF are not.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i)
      if ((byte(i) & 0xC0U) != 0x80U) return false;
    return true;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80U) return 1;
  if (lead >= 0xC2U && lead <= 0xDFU && continues(1, 2)) return 2;
  if ((lead & 0xF0U) == 0xE0U && continues(1, 3)) {
    const unsigned code = ((lead & 0x0FU) << 12U) | ((byte(1) & 0x3FU) << 6U) | (byte(2) & 0x3FU);
    return code >= 0x800U && !(code >= 0xD800U && code <= 0xDFFFU) ? 3 : 0;
  }
  if (lead >= 0xF0U && lead <= 0xF4U && continues(1, 4)) {
    const unsigned top = ((lead & 0x07U) << 6U) | (byte(1) & 0x3FU);  // code >> 12
    return top >= 0x10U && top <= 0x10FU ? 4 : 0;
  }
  return 0;
}

/// A byte of Windows-1252 as UTF-8.
std::string_view windows_1252(unsigned char byte) {
  static constexpr std::array<std::string_view, 32> upper_controls = {
      "\u20AC",    replacement, "\u201A", "\u0192", "\u201E", "\u2026",    "\u2020", "\u2021",
      "\u02C6",    "\u2030",    "\u0160", "\u2039", "\u0152", replacement, "\u017D", replacement,
      replacement, "\u2018",    "\u2019", "\u201C", "\u201D", "\u2022",    "\u2013", "\u2014",
      "\u02DC",    "\u2122",    "\u0161", "\u203A", "\u0153", replacement, "\u017E", "\u0178"};
  // 0xA0 to 0xFF are the characters of those numbers.
  static constexpr auto latin_1 = [] {
    std::array<std::array<char, 2>, 96> table{};
    for (unsigned i = 0; i < 96; ++i)
      table[i] = {static_cast<char>(0xC0U | ((0xA0U + i) >> 6U)),
                  static_cast<char>(0x80U | ((0xA0U + i) & 0x3FU))};
    return table;
  }();
  if (byte < 0xA0U) return upper_controls[byte - 0x80U];
  return {latin_1[byte - 0xA0U].data(), 2};
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80U; });
}

/// Is a character of UTF-8 one that a terminal obeys instead of writing it?
bool is_command(std::string_view c) {
  if (c.size() == 1) return static_cast<unsigned char>(c[0]) < 0x20U || c[0] == '\x7F';
  if (c.size() == 2) return c[0] == '\xC2' && static_cast<unsigned char>(c[1]) < 0xA0U;
  static constexpr std::array<std::string_view, 14> marks = {
      "\u200E", "\u200F", "\u2028", "\u2029", "\u202A", "\u202B", "\u202C",
      "\u202D", "\u202E", "\u2066", "\u2067", "\u2068", "\u2069", "\uFEFF"};
  return std::find(marks.begin(), marks.end(), c) != marks.end();
}

}  // namespace

std::string to_utf8(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::string result;
  result.reserve(text.size() + text.size() / 2);
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    result += length > 0 ? text.substr(0, length)
                         : windows_1252(static_cast<unsigned char>(text.front()));
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

std::string printable(std::string_view text) {
  const std::string utf8 = to_utf8(text);
  std::string result;
  result.reserve(utf8.size());
  for (std::string_view rest = utf8; !rest.empty();) {
    const std::string_view c = rest.substr(0, utf8_length(rest));
    if (c == "\t" || c == "\n" || c == "\r")
      result += ' ';
    else
      result += is_command(c) ? replacement : c;
    rest.remove_prefix(c.size());
  }
  return result;
}

std::string_view first_bytes(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && most - end < 3 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;
  return text.substr(0, end);
}

}  // namespace programs
