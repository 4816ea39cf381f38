// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include <comet/io/file_error.hpp>

namespace movielens {

using comet::FileError;

/// Text of a file as it may be shown in a message: in quotes, and cut when long.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 40;
  if (text.size() <= longest) return '"' + std::string(text) + '"';
  return '"' + std::string(text.substr(0, longest)) + "...\"";
}

}  // namespace movielens
