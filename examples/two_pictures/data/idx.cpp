// SPDX-License-Identifier: MIT
#include <two_pictures/data/idx.hpp>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include <programs/base/file_error.hpp>

namespace programs::two_pictures {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t magic_of_pictures = 0x00000803;  // unsigned bytes, three dimensions
constexpr std::uint32_t magic_of_labels = 0x00000801;    // one

/// \brief A file's bytes in order, unpacked if they are packed.
class Unpacked {
 public:
  explicit Unpacked(const fs::path& file) : file_(file) {
    std::error_code error;
    if (fs::is_directory(file, error)) refuse("is a folder");
    stream_ = gzopen(file.c_str(), "rb");
    if (stream_ == nullptr) refuse(std::string("cannot be opened: ") + std::strerror(errno));
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;
  ~Unpacked() { gzclose_r(stream_); }

  /// So many bytes, or as many as are left.
  std::vector<std::uint8_t> read(std::uint64_t size) {
    // In pieces: a header may promise more than there is memory for.
    constexpr std::uint64_t piece = std::uint64_t{1} << 24;
    std::vector<std::uint8_t> bytes;
    while (bytes.size() < size) {
      const std::size_t before = bytes.size();
      const auto wanted = std::size_t(std::min(piece, size - before));
      bytes.resize(before + wanted);
      const int got = gzread(stream_, bytes.data() + before, unsigned(wanted));
      check();
      bytes.resize(before + std::size_t(std::max(got, 0)));
      if (got < int(wanted)) break;
    }
    return bytes;
  }

  [[noreturn]] void refuse(const std::string& what) const { throw FileError(file_, what); }

 private:
  void check() const {
    int error = Z_OK;
    const char* const text = gzerror(stream_, &error);
    if (error == Z_BUF_ERROR) refuse("is cut off: the packed file ends in the middle");
    if (error == Z_ERRNO) refuse(std::string("cannot be read: ") + std::strerror(errno));
    if (error != Z_OK && error != Z_STREAM_END)
      refuse(std::string("is a damaged gz file: ") + text);
  }

  fs::path file_;
  gzFile stream_ = nullptr;
};

std::uint32_t number(std::span<const std::uint8_t> bytes, std::size_t place) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8U | bytes[4 * place + i];
  return value;
}

std::string in_hexadecimal(std::uint32_t value) {
  std::array<char, 11> text = {};
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

/// The sizes behind the magic number.
template <std::size_t dimensions>
std::array<std::uint64_t, dimensions> read_header(Unpacked& file, std::uint32_t magic,
                                                  const std::string& of_what) {
  const auto bytes = file.read(4 * (dimensions + 1));
  if (bytes.empty()) file.refuse("is empty");
  if (bytes.size() >= 4 && number(bytes, 0) != magic)
    file.refuse("is no idx file of " + of_what + ": it begins with " +
                in_hexadecimal(number(bytes, 0)) + ", expected " + in_hexadecimal(magic));
  if (bytes.size() < 4 * (dimensions + 1))
    file.refuse("is cut off: it has " + std::to_string(bytes.size()) + " bytes, its header " +
                std::to_string(4 * (dimensions + 1)));
  std::array<std::uint64_t, dimensions> sizes = {};
  for (std::size_t i = 0; i < dimensions; ++i) sizes[i] = number(bytes, i + 1);
  return sizes;
}

std::vector<std::uint8_t> read_content(Unpacked& file, std::uint64_t size) {
  std::vector<std::uint8_t> bytes = file.read(size);
  if (bytes.size() < size)
    file.refuse("is cut off: it has " + std::to_string(bytes.size()) + " of the " +
                std::to_string(size) + " bytes that its header promises");
  if (!file.read(1).empty())
    file.refuse("is longer than the " + std::to_string(size) + " bytes that its header promises");
  return bytes;
}

}  // namespace

Pictures read_pictures(const fs::path& path) {
  constexpr std::uint64_t largest = 1024;  // pixels a side
  Unpacked file(path);
  const auto [count, height, width] = read_header<3>(file, magic_of_pictures, "pictures");
  if (count == 0) file.refuse("holds no picture");
  if (std::min(height, width) < 1 || std::max(height, width) > largest)
    file.refuse("holds pictures of " + std::to_string(height) + " x " + std::to_string(width) +
                " pixels, expected 1 to " + std::to_string(largest) + " a side");
  return {Index(height), Index(width), read_content(file, count * height * width)};
}

std::vector<std::uint8_t> read_labels(const fs::path& path) {
  Unpacked file(path);
  const auto [count] = read_header<1>(file, magic_of_labels, "labels");
  return read_content(file, count);
}

}  // namespace programs::two_pictures
