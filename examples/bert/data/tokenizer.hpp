// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <comet/core/types.hpp>

#include <bert/data/vocabulary.hpp>

namespace programs::bert {

/// \brief A text, or two, as a model sees it: [CLS] first [SEP], or [CLS] first [SEP] second [SEP].
struct Encoded {
  std::vector<TokenId> ids;
  std::vector<std::int32_t> types;  ///< as many: 0 up to the first [SEP], 1 behind it

  [[nodiscard]] Index size() const noexcept { return Index(ids.size()); }
  friend bool operator==(const Encoded&, const Encoded&) = default;
};

/// \brief Cuts texts into pieces of a vocabulary, as BERT's uncased models were trained with.
///
/// Words are those of words_of(); of each the longest piece that it begins with is taken, then the
/// longest of the rest, with ## before it. A word of more than 100 characters, or with a rest that
/// no piece begins, is [UNK]. [CLS], [SEP], [PAD], [UNK] and [MASK] in a text are these pieces.
class Tokenizer {
 public:
  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

  /// The pieces of a text alone, nothing put round them, of any number.
  [[nodiscard]] std::vector<TokenId> pieces(std::string_view text) const;

  /// \brief A text with what is put round it.
  /// \param max_length  >= 2: pieces beyond it are cut off at the end of the text
  /// \throws std::invalid_argument naming max_length
  [[nodiscard]] Encoded encode(std::string_view text, Index max_length) const;

  /// \brief Two texts. The longer one is cut first, until both have half of the room.
  /// \param max_length  >= 3
  /// \throws std::invalid_argument naming max_length
  [[nodiscard]] Encoded encode(std::string_view first, std::string_view second,
                               Index max_length) const;

 private:
  Vocabulary vocabulary_;
};

}  // namespace programs::bert
