// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <optional>

namespace programs {

/// \brief A file that one thread of one process holds. The kernel gives it back when its holder
/// ends, however it ends, so there are no stale locks.
class FileLock {
 public:
  /// Waits until the file is free. Makes it where missing. \throws FileError
  [[nodiscard]] static FileLock wait_for(const std::filesystem::path& file);

  /// Nothing if another holds the file. \throws FileError
  [[nodiscard]] static std::optional<FileLock> try_for(const std::filesystem::path& file);

  FileLock(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) noexcept : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace programs
