// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace programs::bert {

/// \brief A word as pieces are looked for in it.
struct Word {
  std::string text = {};       ///< UTF-8
  std::size_t characters = 0;  ///< code points
};

/// \brief The words of a text in lower case and without accents; a mark of punctuation and a
/// Chinese character are words of their own.
///
/// In this order, which decides what becomes of characters that several rules meet:
/// 1. bytes that are no UTF-8, U+FFFD, and characters of the categories Cc, Cf and Co (control,
///    format, private use) are left out, but for tab, line feed and carriage return, which are
///    blanks, as all of the categories Zs, Zl and Zp are;
/// 2. blanks are put round CJK ideographs;
/// 3. canonical decomposition (NFD), and nonspacing marks, category Mn, are left out;
/// 4. lower case, character by character: a sigma that ends a word is as any other;
/// 5. cut at blanks, and round marks of punctuation: category P, and all of ASCII that is neither
///    letter nor digit.
///
/// Categories are those of Unicode 8, with whatever ICU: what came later has none. The models' own
/// tokenizer has tables of that age, and a mark that it does not know stays in its word.
[[nodiscard]] std::vector<Word> words_of(std::string_view text);

}  // namespace programs::bert
