// SPDX-License-Identifier: MIT
#include <next_character/data/alphabet.hpp>

#include <stdexcept>

namespace programs::next_character {

Alphabet::Alphabet(std::string_view text) {
  std::array<bool, num_bytes> occurs = {};
  for (const char c : text) occurs[static_cast<std::uint8_t>(c)] = true;
  for (std::size_t byte = 0; byte < num_bytes; ++byte)
    if (occurs[byte]) bytes_.push_back(static_cast<std::uint8_t>(byte));
  number_bytes();
}

Alphabet Alphabet::of_bytes(std::span<const std::uint8_t> bytes) {
  for (std::size_t i = 1; i < bytes.size(); ++i)
    if (bytes[i - 1] >= bytes[i]) throw std::invalid_argument("the bytes do not ascend");
  Alphabet alphabet;
  alphabet.bytes_.assign(bytes.begin(), bytes.end());
  alphabet.number_bytes();
  return alphabet;
}

void Alphabet::number_bytes() {
  symbols_.fill(static_cast<Symbol>(size() - 1));
  for (std::size_t i = 0; i < bytes_.size(); ++i) symbols_[bytes_[i]] = static_cast<Symbol>(i);
}

void Alphabet::number(std::string& text) const {
  for (char& c : text) c = static_cast<char>(symbol(c));
}

}  // namespace programs::next_character
