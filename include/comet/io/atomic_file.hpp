// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <comet/io/file_error.hpp>

namespace comet {

/// \brief A file that a reader, or a crash, sees whole or not at all: written beside its place,
/// brought to the disk, then renamed. What was there before stays until then. POSIX systems only.
///
/// A symbolic link stays one: what it leads to is replaced, or made. The mode of a file that is
/// replaced is kept, and its owner and group where the system allows; its other hard links keep the
/// old content. What cannot be replaced is written to directly, so that a reader sees what has come
/// so far: a pipe, a character device, and what this process has open, if it is named so:
/// /dev/stdout or /dev/fd/3. Opening a named pipe waits for its reader. Anything else, a directory
/// for example, is refused.
class AtomicFile {
 public:
  /// Starts a file beside `file`. \throws FileError if it cannot be made
  explicit AtomicFile(std::filesystem::path file) : file_(std::move(file)) {
    if (const int open = own_descriptor(file_); open >= 0) {
      // Where it stands: a second opening would begin at the front of what is there.
      descriptor_ = ::fcntl(open, F_DUPFD_CLOEXEC, 0);
    } else {
      open_by_name();
    }
    if (descriptor_ < 0) refuse();
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  /// Without commit() nothing has happened.
  ~AtomicFile() { discard(); }

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
    const bool is_stream = beside_.empty();
    if (!is_stream &&
        (::fsync(descriptor_) != 0 || std::rename(beside_.c_str(), target_.c_str()) != 0))
      refuse();
    ::close(std::exchange(descriptor_, -1));
    if (is_stream) return;
    // The new name is on the disk only when the directory is.
    const auto directory =
        target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
    const int parent = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return;
    ::fsync(parent);
    ::close(parent);
  }

 private:
  void open_by_name() {
    using Type = std::filesystem::file_type;
    std::error_code error;
    const auto status = std::filesystem::status(file_, error);  // of what links lead to
    switch (status.type()) {
      case Type::not_found:
      case Type::regular:
        open_beside(status.type() == Type::regular);
        break;
      case Type::fifo:
      case Type::character:
        descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
        break;
      case Type::directory:
        throw FileError(file_, "cannot be written: it is a directory");
      case Type::none:
        throw FileError(file_, "cannot be written: " + error.message());
      default:
        throw FileError(file_, "cannot be written: it is neither a file nor a stream");
    }
  }

  void open_beside(bool replaces) {
    target_ = behind_links(file_);
    beside_ = target_.parent_path() / name_beside(target_.filename().string());
    struct stat old = {};
    if (replaces && ::stat(target_.c_str(), &old) != 0) refuse();
    // Nobody may read it before it has the old one's mode.
    descriptor_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                         replaces ? S_IRUSR | S_IWUSR : 0666);
    if (descriptor_ < 0 || !replaces) return;
    // Root may give it to the old owner, a member of the old group to that one; others may not.
    if (::fchown(descriptor_, old.st_uid, old.st_gid) != 0)
      static_cast<void>(::fchown(descriptor_, uid_t(-1), old.st_gid) == 0);
    if (::fchmod(descriptor_, old.st_mode & 07777) == 0) return;
    const int reason = errno;
    discard();
    errno = reason;
    refuse();
  }

  /// The name and an ending of its own; of a name that leaves no room for the ending, the front and
  /// a number that names differ by.
  static std::string name_beside(const std::string& name) {
    constexpr std::size_t longest = 255, front = 200;  // NAME_MAX of the usual file systems
    const std::string ending = ".tmp." + std::to_string(::getpid());
    if (name.size() + ending.size() <= longest) return name + ending;
    return name.substr(0, front) + '.' + std::to_string(std::hash<std::string>()(name)) + ending;
  }

  /// What this process has open under a name that leads to /proc/self/fd/N; or -1.
  static int own_descriptor(std::filesystem::path file) {
    std::error_code error;
    const std::string own = "/proc/" + std::to_string(::getpid()) + "/fd";
    for (int links = 0; links < 40 && std::filesystem::is_symlink(file, error); ++links) {
      const std::string name = file.filename().string();
      int number = -1;
      if (std::filesystem::canonical(file.parent_path(), error) == own &&
          std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc())
        return number;
      file = file.parent_path() / std::filesystem::read_symlink(file, error);
    }
    return -1;
  }

  /// Where a chain of links ends, whether or not there is anything.
  static std::filesystem::path behind_links(std::filesystem::path file) {
    std::error_code error;
    // The system has followed them before, so that they do end; but others may change them.
    for (int links = 0; links < 40 && std::filesystem::is_symlink(file, error); ++links)
      file = file.parent_path() / std::filesystem::read_symlink(file, error);
    return file;
  }

  void discard() {
    if (descriptor_ < 0) return;
    ::close(std::exchange(descriptor_, -1));
    if (!beside_.empty()) ::unlink(beside_.c_str());
  }

  [[noreturn]] void refuse() const {
    throw FileError(file_, "cannot be written: " + std::string(std::strerror(errno)));
  }

  std::filesystem::path file_;    // as it was named
  std::filesystem::path target_;  // what is replaced: behind links
  std::filesystem::path beside_;  // what is written until then; empty for a stream
  int descriptor_ = -1;
};

}  // namespace comet
