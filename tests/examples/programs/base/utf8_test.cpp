// SPDX-License-Identifier: MIT
#include <string>

#include <programs/base/file_error.hpp>
#include <programs/base/utf8.hpp>

#include <support/catch.hpp>

using programs::in_quotes;
using programs::printable;
using programs::to_utf8;

TEST_CASE("to_utf8: keeps UTF-8, reads other bytes as Windows-1252", "[movielens][utf8]") {
  for (const std::string text : {"", "plain", "\xC3\xA9", "\xE2\x82\xAC 5", "\xF0\x9F\x8E\xAC"})
    CHECK(to_utf8(text) == text);
  CHECK(to_utf8("\xE9t\xE9") == "\u00E9t\u00E9");
  CHECK(to_utf8("Schindler\x92s \x93List\x94 \x80") == "Schindler\u2019s \u201CList\u201D \u20AC");
  CHECK(to_utf8("\xA0\xBF\xC0\xFF") == "\u00A0\u00BF\u00C0\u00FF");
  CHECK(to_utf8("\x9F\x81") == "\u0178\uFFFD");
  // Both in one text.
  CHECK(to_utf8("\xC3\xA9 and \xE9") == "\u00E9 and \u00E9");
  // Not UTF-8: cut off, over-long, a surrogate, beyond the last code point, a lone continuation.
  CHECK(to_utf8("\xE2\x82") == "\u00E2\u201A");
  CHECK(to_utf8("\xC0\xAF") == "\u00C0\u00AF");
  CHECK(to_utf8("\xE0\x80\xAF") == "\u00E0\u20AC\u00AF");
  CHECK(to_utf8("\xED\xA0\x80") == "\u00ED\u00A0\u20AC");
  CHECK(to_utf8("\xF4\x90\x80\x80") == "\u00F4\uFFFD\u20AC\u20AC");
  CHECK(to_utf8("\xBF") == "\u00BF");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string utf8 = to_utf8(std::string(1, char(byte)));
    CHECK(to_utf8(utf8) == utf8);
  }
}

TEST_CASE("printable: nothing that a terminal obeys", "[movielens][utf8]") {
  CHECK(printable("a\tb\nc\rd") == "a b c d");
  CHECK(printable("\x1B[31mred") == "\uFFFD[31mred");
  CHECK(printable("\x07\x7F") == "\uFFFD\uFFFD");
  CHECK(printable("\u009B31m") == "\uFFFD31m");
  CHECK(printable("\x9B"
                  "31m") == "\u203A31m");  // of Windows-1252
  CHECK(printable("a\u202Eb\u2066c\uFEFF") == "a\uFFFDb\uFFFDc\uFFFD");
  CHECK(printable("Am\u00E9lie \u2019 \u4E2D") == "Am\u00E9lie \u2019 \u4E2D");
}

TEST_CASE("in_quotes: short, whole characters", "[movielens][utf8]") {
  CHECK(in_quotes("a\x1B") == "\"a\uFFFD\"");
  CHECK(in_quotes(std::string(40, 'x')) == '"' + std::string(40, 'x') + '"');
  CHECK(in_quotes(std::string(39, 'x') + "\u00E9y") == '"' + std::string(39, 'x') + "...\"");
}
