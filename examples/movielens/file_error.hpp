// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace movielens {

/// \brief What is wrong with a file, and where: `FILE:LINE: REASON`, in one line.
class FileError : public std::runtime_error {
 public:
  FileError(const std::filesystem::path& file, std::string_view reason)
      : std::runtime_error(file.string() + ": " + std::string(reason)) {}

  /// `line` counts from 1.
  FileError(const std::filesystem::path& file, std::size_t line, std::string_view reason)
      : std::runtime_error(file.string() + ":" + std::to_string(line) + ": " +
                           std::string(reason)) {}
};

/// Text of a file as it may be shown in a message: in quotes, and cut when long.
[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 40;
  if (text.size() <= longest) return '"' + std::string(text) + '"';
  return '"' + std::string(text.substr(0, longest)) + "...\"";
}

}  // namespace movielens
