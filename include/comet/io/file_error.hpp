// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace comet {

/// \brief What is wrong with a file: `FILE: REASON`, in one line.
class FileError : public std::runtime_error {
 public:
  /// The message names the file and the reason.
  FileError(const std::filesystem::path& file, const std::string& reason)
      : std::runtime_error(file.string() + ": " + reason) {}
};

}  // namespace comet
