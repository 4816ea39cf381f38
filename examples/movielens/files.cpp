// SPDX-License-Identifier: MIT
#include <movielens/files.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include <movielens/file_error.hpp>

namespace movielens {
namespace {

/// An open file, closed at the end of the scope.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& file, int flags)
      : number_(::open(file.c_str(), flags | O_CLOEXEC, 0666)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

[[noreturn]] void refuse(const std::filesystem::path& file) {
  throw FileError(file, "cannot be written: " + std::string(std::strerror(errno)));
}

bool write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

void write_atomically(const std::filesystem::path& file, std::string_view content) {
  const std::filesystem::path beside = file.string() + ".tmp." + std::to_string(::getpid());
  try {
    const Descriptor descriptor(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (descriptor.number() < 0 || !write_all(descriptor.number(), content) ||
        ::fsync(descriptor.number()) != 0 || std::rename(beside.c_str(), file.c_str()) != 0)
      refuse(file);
  } catch (const FileError&) {
    ::unlink(beside.c_str());
    throw;
  }
  // The new name is on the disk only when the directory is.
  const auto directory = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const Descriptor parent(directory, O_RDONLY | O_DIRECTORY);
  if (parent.number() >= 0) ::fsync(parent.number());
}

LineLog::LineLog(std::filesystem::path file, Open mode) : file_(std::move(file)), descriptor_(-1) {
  Descriptor opened(file_, O_WRONLY | O_CREAT | O_APPEND | (mode == Open::fresh ? O_TRUNC : 0));
  if (opened.number() < 0) refuse(file_);
  descriptor_ = opened.release();
}

LineLog::LineLog(LineLog&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

LineLog::~LineLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void LineLog::append(std::string_view line) {
  std::string text(line);
  text += '\n';
  if (!write_all(descriptor_, text)) refuse(file_);
}

std::uint64_t LineLog::sync() const {
  struct stat status {};
  if (::fsync(descriptor_) != 0 || ::fstat(descriptor_, &status) != 0) refuse(file_);
  return static_cast<std::uint64_t>(status.st_size);
}

void LineLog::cut(std::uint64_t length) {
  if (sync() < length) throw FileError(file_, "is shorter than the checkpoint says");
  if (::ftruncate(descriptor_, static_cast<off_t>(length)) != 0) refuse(file_);
}

void make_directories(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw FileError(directory, "cannot be made: " + error.message());
}

}  // namespace movielens
