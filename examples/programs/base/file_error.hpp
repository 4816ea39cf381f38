// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <comet/io/file_error.hpp>

#include <programs/base/utf8.hpp>

namespace programs {

using comet::FileError;

/// Text of a file as it may be shown in a message: in quotes, harmless, and cut when long.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 40;
  return '"' + printable(first_bytes(text, longest)) + (text.size() <= longest ? "\"" : "...\"");
}

}  // namespace programs
