// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/types.hpp>

namespace programs::next_character {

using comet::Index;
using Symbol = std::uint8_t;  ///< Number of a character in an alphabet.

/// \brief The characters of a text, numbered: its bytes, so that any encoding works.
///
/// Bytes of the text it is made from have numbers of their own, ascending. All others share the
/// last number: a model can be asked about any other text, too, and has to spend bits on what it
/// has never seen. A text with all 256 bytes has no such number.
class Alphabet {
 public:
  Alphabet() = default;
  /// That of a text.
  explicit Alphabet(std::string_view text);
  /// \brief That of some bytes. \throws std::invalid_argument unless they ascend
  [[nodiscard]] static Alphabet of_bytes(std::span<const std::uint8_t> bytes);

  /// Number of symbols, that of unknown bytes included.
  [[nodiscard]] Index size() const noexcept { return Index(bytes_.size()) + has_unknown(); }
  /// The bytes that have numbers of their own, in their order.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }
  /// Whether the last symbol stands for all other bytes.
  [[nodiscard]] bool has_unknown() const noexcept { return bytes_.size() < num_bytes; }

  [[nodiscard]] Symbol symbol(char byte) const noexcept {
    return symbols_[static_cast<std::uint8_t>(byte)];
  }
  /// What a symbol is written as; '?' for that of unknown bytes.
  [[nodiscard]] char byte(Symbol symbol) const noexcept {
    return symbol < bytes_.size() ? static_cast<char>(bytes_[symbol]) : '?';
  }
  /// Puts the symbols of a text in its place: it may take half of the memory there is.
  void number(std::string& text) const;

  friend bool operator==(const Alphabet&, const Alphabet&) = default;

 private:
  static constexpr std::size_t num_bytes = 256;

  void number_bytes();

  std::vector<std::uint8_t> bytes_;
  std::array<Symbol, num_bytes> symbols_ = {};
};

/// A text that Alphabet::number() has numbered.
[[nodiscard]] inline std::span<const Symbol> as_symbols(const std::string& numbered) {
  return {reinterpret_cast<const Symbol*>(numbered.data()), numbered.size()};
}

}  // namespace programs::next_character
