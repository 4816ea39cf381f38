// SPDX-License-Identifier: MIT
#include <programs/base/files.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <comet/io/atomic_file.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/utf8.hpp>

namespace programs {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& file) {
  throw FileError(file, "cannot be written: " + std::string(std::strerror(errno)));
}

}  // namespace

std::filesystem::path real_path(const std::filesystem::path& path) {
  std::error_code none;
  // Of a relative path of which nothing is there the standard library leaves a relative one.
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, none), none);
}

void refuse_input(const char* flag, const std::filesystem::path& target, const Inputs& inputs) {
  std::error_code none;
  const bool is_taken_in = !target.empty() && inputs.take_in && inputs.take_in(target);
  const bool is_read =
      (is_taken_in && std::filesystem::exists(target, none)) ||
      std::any_of(inputs.paths.begin(), inputs.paths.end(), [&](const auto& input) {
        return std::filesystem::equivalent(target, input, none);
      });
  const std::string named = std::string(flag) + " is " + in_quotes(target.string()) + ", which ";
  if (is_read) throw std::invalid_argument(named + "is read and would be lost");
  if (is_taken_in)
    throw std::invalid_argument(named +
                                "would become part of the data, expected a place outside of them");
}

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw FileError(file, "cannot be opened");
  try {
    return {std::istreambuf_iterator<char>(stream), {}};
  } catch (const std::ios_base::failure&) {
    throw FileError(file, "cannot be read");
  }
}

std::string source_of(const std::filesystem::path& folder) {
  constexpr std::size_t longest = 400;
  const std::filesystem::path note = folder / "SOURCE";
  std::error_code error;
  if (!std::filesystem::is_regular_file(note, error)) return folder.string();
  const std::string text = read_file(note);
  const std::string line = printable(first_bytes(text.substr(0, text.find('\n')), longest));
  return line.empty() ? folder.string() : line;
}

void expect_regular(const std::filesystem::path& file) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (std::filesystem::is_other(status)) throw FileError(file, "is not a regular file");
}

void remove_file(const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::remove(file, error);
  if (error) throw FileError(file, "cannot be removed: " + error.message());
}

void write_atomically(const std::filesystem::path& file, std::string_view content) {
  comet::AtomicFile output(file);
  output.write(std::as_bytes(std::span(content)));
  output.commit();
}

LineLog::LineLog(std::filesystem::path file, Open mode)
    : file_(std::move(file)),
      descriptor_(::open(
          file_.c_str(),
          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (mode == Open::fresh ? O_TRUNC : 0), 0666)) {
  if (descriptor_ < 0) refuse(file_);
}

LineLog::LineLog(LineLog&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

LineLog::~LineLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void LineLog::append(std::string_view line) {
  std::string text(line);
  text += '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse(file_);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
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

}  // namespace programs
