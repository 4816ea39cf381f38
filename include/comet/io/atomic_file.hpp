// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <comet/io/file_error.hpp>

namespace comet {

/// \brief A file that a reader, or a crash, sees whole or not at all: written beside its place,
/// brought to the disk, then renamed. What was there before stays until then. POSIX systems only.
class AtomicFile {
 public:
  /// Starts a file beside `file`. \throws FileError if it cannot be made
  explicit AtomicFile(std::filesystem::path file)
      : file_(std::move(file)),
        beside_(file_.string() + ".tmp." + std::to_string(::getpid())),
        descriptor_(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) refuse();
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  /// Without commit() nothing has happened.
  ~AtomicFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(beside_.c_str());
  }

  /// \brief Appends to it. \throws FileError, for example on a full disk
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) refuse();
      bytes = bytes.subspan(std::size_t(written));
    }
  }

  /// \brief Gives the file its name. \throws FileError if that is not possible
  void commit() {
    if (::fsync(descriptor_) != 0 || std::rename(beside_.c_str(), file_.c_str()) != 0) refuse();
    ::close(std::exchange(descriptor_, -1));
    // The new name is on the disk only when the directory is.
    const auto directory =
        file_.has_parent_path() ? file_.parent_path() : std::filesystem::path(".");
    const int parent = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return;
    ::fsync(parent);
    ::close(parent);
  }

 private:
  [[noreturn]] void refuse() const {
    throw FileError(file_, "cannot be written: " + std::string(std::strerror(errno)));
  }

  std::filesystem::path file_;
  std::filesystem::path beside_;
  int descriptor_;
};

}  // namespace comet
