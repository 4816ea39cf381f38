// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace comet {

/// \brief What is wrong with a file, and where: `FILE: REASON` or `FILE:LINE: REASON`, in one line.
class FileError : public std::runtime_error {
 public:
  /// The message names the file and the reason.
  FileError(const std::filesystem::path& file, std::string_view reason)
      : std::runtime_error(file.string() + ": " + std::string(reason)) {}

  /// And the line, from 1.
  FileError(const std::filesystem::path& file, std::size_t line, std::string_view reason)
      : std::runtime_error(file.string() + ":" + std::to_string(line) + ": " +
                           std::string(reason)) {}
};

}  // namespace comet
