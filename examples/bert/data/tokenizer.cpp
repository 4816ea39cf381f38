// SPDX-License-Identifier: MIT
#include <bert/data/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include <comet/core/check.hpp>

#include <bert/data/words.hpp>

namespace programs::bert {
namespace {

constexpr std::size_t longest_word = 100;  // in characters

/// A special piece that a text says, and where.
struct Special {
  std::size_t at = std::string_view::npos;
  std::string_view piece = {};
};

Special first_special(std::string_view text) {
  Special first;
  for (std::size_t at = text.find('['); at != std::string_view::npos; at = text.find('[', at + 1))
    for (const std::string_view piece : special_pieces)
      if (text.substr(at).starts_with(piece)) return {at, piece};
  return first;
}

/// The longest piece that the rest of a word begins with.
std::optional<TokenId> longest_piece(const Vocabulary& vocabulary, std::string_view mark,
                                     std::string_view& rest) {
  std::string piece = std::string(mark) + std::string(rest);
  for (; piece.size() > mark.size(); piece.pop_back())
    if (const auto id = vocabulary.find(piece)) {
      rest.remove_prefix(piece.size() - mark.size());
      return id;
    }
  return std::nullopt;
}

/// The pieces of a word, the longest first; one that some part of has no piece is unknown as a
/// whole.
void append_pieces(const Vocabulary& vocabulary, const Word& word, std::vector<TokenId>& ids) {
  const std::size_t before = ids.size();
  std::string_view rest = word.text;
  while (!rest.empty() && word.characters <= longest_word) {
    const auto id = longest_piece(vocabulary, ids.size() == before ? "" : "##", rest);
    if (!id) break;
    ids.push_back(*id);
  }
  if (rest.empty()) return;
  ids.resize(before);
  ids.push_back(vocabulary.unknown());
}

/// Cuts the longer one first, down to half of the room: of an odd room the longer one has the rest,
/// of equal ones the second.
void cut(std::vector<TokenId>& first, std::vector<TokenId>& second, std::size_t room) {
  if (first.size() + second.size() <= room) return;
  const bool first_is_longer = first.size() > second.size();
  std::vector<TokenId>& longer = first_is_longer ? first : second;
  std::vector<TokenId>& shorter = first_is_longer ? second : first;
  shorter.resize(std::min(shorter.size(), room / 2));
  longer.resize(room - shorter.size());
}

void append(const std::vector<TokenId>& ids, TokenId separator, std::int32_t type, Encoded& to) {
  to.ids.insert(to.ids.end(), ids.begin(), ids.end());
  to.ids.push_back(separator);
  to.types.resize(to.ids.size(), type);
}

}  // namespace

std::vector<TokenId> Tokenizer::pieces(std::string_view text) const {
  std::vector<TokenId> ids;
  while (true) {
    const Special special = first_special(text);
    for (const Word& word : words_of(text.substr(0, special.at)))
      append_pieces(vocabulary_, word, ids);
    if (special.piece.empty()) return ids;
    ids.push_back(*vocabulary_.find(special.piece));
    text.remove_prefix(special.at + special.piece.size());
  }
}

Encoded Tokenizer::encode(std::string_view text, Index max_length) const {
  comet::detail::check_at_least("Tokenizer::encode", "max_length", max_length, 2);
  std::vector<TokenId> ids = pieces(text);
  ids.resize(std::min(ids.size(), std::size_t(max_length) - 2));
  Encoded result{.ids = {vocabulary_.beginning()}, .types = {}};
  append(ids, vocabulary_.separator(), 0, result);
  return result;
}

Encoded Tokenizer::encode(std::string_view first, std::string_view second, Index max_length) const {
  comet::detail::check_at_least("Tokenizer::encode", "max_length", max_length, 3);
  std::vector<TokenId> ids = pieces(first), second_ids = pieces(second);
  cut(ids, second_ids, std::size_t(max_length) - 3);
  Encoded result{.ids = {vocabulary_.beginning()}, .types = {}};
  append(ids, vocabulary_.separator(), 0, result);
  append(second_ids, vocabulary_.separator(), 1, result);
  return result;
}

}  // namespace programs::bert
