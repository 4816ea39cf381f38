// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <comet/core/types.hpp>

namespace programs::bert {

using comet::Index;
using TokenId = std::int32_t;  ///< Number of a piece in a vocabulary: its line, from 0.

/// \brief The pieces that texts are cut into, numbered. A piece that goes on a word begins with ##.
class Vocabulary {
 public:
  /// \param pieces  each once, the five special ones among them
  /// \throws std::invalid_argument naming what is empty, twice there or missing
  explicit Vocabulary(std::vector<std::string> pieces);

  [[nodiscard]] Index size() const noexcept { return Index(pieces_.size()); }
  [[nodiscard]] const std::string& operator[](TokenId id) const {
    return pieces_.at(std::size_t(id));
  }
  /// Nothing if there is no such piece.
  [[nodiscard]] std::optional<TokenId> find(std::string_view piece) const;

  [[nodiscard]] TokenId padding() const noexcept { return padding_; }      ///< [PAD]
  [[nodiscard]] TokenId unknown() const noexcept { return unknown_; }      ///< [UNK]
  [[nodiscard]] TokenId beginning() const noexcept { return beginning_; }  ///< [CLS]
  [[nodiscard]] TokenId separator() const noexcept { return separator_; }  ///< [SEP]
  [[nodiscard]] TokenId mask() const noexcept { return mask_; }            ///< [MASK]

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  [[nodiscard]] TokenId special(std::string_view piece) const;

  std::vector<std::string> pieces_;
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  TokenId padding_, unknown_, beginning_, separator_, mask_;
};

/// The pieces that stand for no text.
inline constexpr std::string_view special_pieces[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

/// The vocab.txt of a model. \param place  the file, or the folder that it is in
[[nodiscard]] std::filesystem::path vocabulary_file(const std::filesystem::path& place);

/// Tells the pieces in their order from others, whatever their lines end with.
[[nodiscard]] std::string fingerprint_of(const Vocabulary& vocabulary);

/// \brief Reads a vocab.txt: a piece a line.
/// \param place  the file, or the folder of a model that it is in
/// \param size   what the model's config.json says; 0 if there is none
/// \throws FileError for a file that is none, a line that is empty or there twice, a special piece
///         that is missing, another size, and a model that is not of lower case
[[nodiscard]] Vocabulary read_vocabulary(const std::filesystem::path& place, Index size = 0);

}  // namespace programs::bert
