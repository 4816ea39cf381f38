// SPDX-License-Identifier: MIT
#include <bert/data/vocabulary.hpp>

#include <span>
#include <stdexcept>
#include <utility>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/fingerprint.hpp>
#include <programs/base/json.hpp>

namespace programs::bert {
namespace {

namespace fs = std::filesystem;

/// The lines of a text, which may end as Windows ends them.
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    lines.emplace_back(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
  }
  return lines;
}

/// A model whose texts were cut another way says so beside its vocabulary.
void check_settings(const fs::path& folder) {
  const fs::path file = folder / "tokenizer_config.json";
  if (!fs::exists(file)) return;
  const Json json = parse_json(read_file(file));
  if (!json.is_object()) throw FileError(file, "is no JSON object");
  const auto refuse_false = [&](const std::string& key, const char* why) {
    if (json.value(key, Json()) == false) throw FileError(file, "says " + key + " = false: " + why);
  };
  refuse_false("do_lower_case", "only models of lower case can be used");
  refuse_false("strip_accents", "accents are taken off here");
  refuse_false("tokenize_chinese_chars", "ideographs are set apart here");
}

void check_lines(const fs::path& file, const std::vector<std::string>& lines) {
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) throw FileError(file, i + 1, "is empty, expected a piece");
    if (const auto [place, is_new] = seen.emplace(lines[i], i + 1); !is_new)
      throw FileError(
          file, i + 1,
          in_quotes(lines[i]) + " is on line " + std::to_string(place->second) + ", too");
  }
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {
  ids_.reserve(pieces_.size());
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].empty())
      throw std::invalid_argument("piece " + std::to_string(id) + " is empty");
    if (!ids_.emplace(pieces_[id], TokenId(id)).second)
      throw std::invalid_argument("the piece " + in_quotes(pieces_[id]) + " is there twice");
  }
  padding_ = special("[PAD]");
  unknown_ = special("[UNK]");
  beginning_ = special("[CLS]");
  separator_ = special("[SEP]");
  mask_ = special("[MASK]");
}

std::optional<TokenId> Vocabulary::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

TokenId Vocabulary::special(std::string_view piece) const {
  const std::optional<TokenId> id = find(piece);
  if (!id) throw std::invalid_argument("there is no piece " + std::string(piece));
  return *id;
}

fs::path vocabulary_file(const fs::path& place) {
  return fs::is_directory(place) ? place / "vocab.txt" : place;
}

std::string fingerprint_of(const Vocabulary& vocabulary) {
  Fingerprint print;
  const char end = '\n';  // no piece has one
  for (TokenId id = 0; id < vocabulary.size(); ++id)
    print.add(std::span<const char>(vocabulary[id])).add(std::span<const char>(&end, 1));
  return print.text();
}

Vocabulary read_vocabulary(const fs::path& place, Index size) {
  if (fs::is_directory(place)) check_settings(place);
  const fs::path file = vocabulary_file(place);
  expect_regular(file);
  std::vector<std::string> lines = lines_of(read_file(file));
  if (lines.empty()) throw FileError(file, "is empty, expected a piece a line");
  check_lines(file, lines);
  if (size > 0 && lines.size() != std::size_t(size))
    throw FileError(file, "has " + std::to_string(lines.size()) + " pieces, expected " +
                              std::to_string(size) + ", the vocab_size of the model");
  try {
    return Vocabulary(std::move(lines));
  } catch (const std::invalid_argument& error) {
    throw FileError(file, error.what());
  }
}

}  // namespace programs::bert
