// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace programs::next_character {

/// \brief What a character of source code is part of, told by a few rules that hold in Python and,
/// but for comments, in most languages.
enum class KindOfPlace : std::uint8_t {
  indentation,
  name,
  number,
  string,
  comment,
  punctuation,
  blank,
};

inline constexpr std::size_t num_kinds_of_place = 7;
/// In the order of the enumeration.
inline constexpr std::array<std::string_view, num_kinds_of_place> kind_of_place_names = {
    "indentation", "name", "number", "string", "comment", "punctuation", "blank"};

/// One for each character; the end of a line is a blank, quotes belong to their string.
[[nodiscard]] std::vector<KindOfPlace> kinds_of_place(std::string_view text);

}  // namespace programs::next_character
