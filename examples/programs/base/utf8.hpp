// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace programs {

/// \brief The text as UTF-8: unchanged if it is; a byte that belongs to no character of UTF-8 is
/// read as Windows-1252, which has all of what ISO-8859-1 can print.
[[nodiscard]] std::string to_utf8(std::string_view text);

/// \brief The text as UTF-8 that does nothing to a terminal but write.
///
/// Blanks take the place of tabs and ends of lines; U+FFFD that of control characters, with which
/// escape sequences begin, and of marks that turn the direction of what follows.
[[nodiscard]] std::string printable(std::string_view text);

/// The longest beginning of so many bytes that does not cut a character of UTF-8.
[[nodiscard]] std::string_view first_bytes(std::string_view text, std::size_t most);

}  // namespace programs
