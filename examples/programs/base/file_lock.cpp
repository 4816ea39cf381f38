// SPDX-License-Identifier: MIT
#include <programs/base/file_lock.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <programs/base/file_error.hpp>

namespace programs {
namespace {

int open_for_lock(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0)
    throw FileError(file, "cannot be opened: " + std::string(std::strerror(errno)));
  return descriptor;
}

/// Whether the lock was got.
bool lock(int descriptor, int how) {
  while (::flock(descriptor, how) != 0)
    if (errno != EINTR) return false;
  return true;
}

}  // namespace

FileLock FileLock::wait_for(const std::filesystem::path& file) {
  FileLock held(open_for_lock(file));
  if (!lock(held.descriptor_, LOCK_EX))
    throw FileError(file, "cannot be locked: " + std::string(std::strerror(errno)));
  return held;
}

std::optional<FileLock> FileLock::try_for(const std::filesystem::path& file) {
  FileLock held(open_for_lock(file));
  if (lock(held.descriptor_, LOCK_EX | LOCK_NB)) return held;
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw FileError(file, "cannot be locked: " + std::string(std::strerror(errno)));
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace programs
