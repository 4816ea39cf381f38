// SPDX-License-Identifier: MIT
// Texts for BERT. The first byte chooses: what follows is a text, cut into pieces that are those of
// its two halves, however they are parted by a blank, and no more than there is room for; or it is
// a file of a task or a vocabulary, which is read, or refused in a line.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <bert/data/tasks.hpp>
#include <bert/data/tokenizer.hpp>
#include <bert/data/vocabulary.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/utf8.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using namespace programs::bert;
using comet::fuzz::expect;
using comet::fuzz::MemoryFile;

Vocabulary small_vocabulary() {
  std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##the"};
  for (char c = '!'; c <= '~'; ++c)
    if (c < 'A' || c > 'Z') {
      pieces.emplace_back(1, c);
      pieces.push_back("##" + pieces.back());
    }
  std::erase(pieces, "####");
  return Vocabulary(std::move(pieces));
}

void check(const Tokenizer& tokenizer, const Encoded& encoded, std::size_t room) {
  expect(encoded.ids.size() <= room, "there is room for all");
  expect(encoded.types.size() == encoded.ids.size(), "every piece has a type");
  expect(encoded.ids.front() == tokenizer.vocabulary().beginning(), "[CLS] comes first");
  expect(encoded.ids.back() == tokenizer.vocabulary().separator(), "[SEP] comes last");
  for (const TokenId id : encoded.ids)
    expect(id >= 0 && id < tokenizer.vocabulary().size(), "pieces are of the vocabulary");
}

void cut_text(std::string_view text, std::uint8_t choice) {
  static const Tokenizer tokenizer(small_vocabulary());
  const std::string first(text.substr(0, text.size() * choice / 64));
  const std::string second(text.substr(first.size()));
  std::vector<TokenId> pieces = tokenizer.pieces(first);
  const std::vector<TokenId> others = tokenizer.pieces(second);
  const std::size_t room = 3 + choice % 16;
  const auto length = comet::Index(room);
  const Encoded pair = tokenizer.encode(first, second, length);
  check(tokenizer, pair, room);
  expect(pair.ids.size() == std::min(room, pieces.size() + others.size() + 3), "all room is used");
  check(tokenizer, tokenizer.encode(text, length), room);
  pieces.insert(pieces.end(), others.begin(), others.end());
  expect(tokenizer.pieces(first + " " + second) == pieces, "a blank parts words");
}

template <class Read>
void read_file(std::string_view content, Read read) {
  const MemoryFile file(content);
  try {
    read(file.path());
  } catch (const programs::FileError& error) {
    expect(std::string(error.what()).find('\n') == std::string::npos, "an error is a line");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::uint8_t texts = 64;
  const std::string_view content(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] <= texts) {
    cut_text(content, data[0]);
  } else if (data[0] == texts + 1) {
    read_file(content, [](const auto& file) {
      const Vocabulary vocabulary = read_vocabulary(file);
      for (TokenId id = 0; id < vocabulary.size(); ++id)
        expect(vocabulary.find(vocabulary[id]) == id, "a piece has the number of its line");
    });
  } else {
    const Task& task = tasks()[data[0] % tasks().size()];
    read_file(content, [&](const auto& file) {
      for (const Example& example : read_examples(task, file)) {
        expect(example.label >= 0 && example.label <= 5, "labels are in their range");
        expect(programs::to_utf8(example.first) == example.first, "sentences are UTF-8");
      }
    });
  }
  return 0;
}
