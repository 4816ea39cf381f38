// SPDX-License-Identifier: MIT
#include <two_pictures/data/idx.hpp>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <system_error>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::two_pictures {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t magic_of_pictures = 0x00000803;  // unsigned bytes, three dimensions
constexpr std::uint32_t magic_of_labels = 0x00000801;    // one

/// \brief A file's bytes in order, unpacked if they are packed.
///
/// zlib's own reader of files would do but for the end: it takes a file that is cut off in the last
/// eight bytes, the check sum, and one with anything behind them.
class Unpacked {
 public:
  explicit Unpacked(const fs::path& file) : file_(file), packed_(std::size_t{1} << 16) {
    std::error_code error;
    if (fs::is_directory(file, error)) refuse("is a folder");
    expect_regular(file);
    stream_.open(file, std::ios::binary);
    if (!stream_) refuse(std::string("cannot be opened: ") + std::strerror(errno));
    fill();
    is_packed_ = begins_member();
    // 16: with the head and the check sum of gzip.
    if (is_packed_ && inflateInit2(&zlib_, MAX_WBITS + 16) != Z_OK) throw std::bad_alloc();
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;
  ~Unpacked() {
    if (is_packed_) inflateEnd(&zlib_);
  }

  /// So many bytes, or as many as are left.
  std::vector<std::uint8_t> read(std::uint64_t size) {
    // In pieces: a header may promise more than there is memory for.
    constexpr std::uint64_t piece = std::uint64_t{1} << 24;
    std::vector<std::uint8_t> bytes;
    while (bytes.size() < size) {
      const std::size_t before = bytes.size();
      bytes.resize(before + std::size_t(std::min(piece, size - before)));
      const auto wanted = std::span(bytes).subspan(before);
      const std::size_t got = is_packed_ ? unpack(wanted) : copy(wanted);
      bytes.resize(before + got);
      if (got < wanted.size()) break;
    }
    return bytes;
  }

  [[noreturn]] void refuse(const std::string& what) const { throw FileError(file_, what); }

 private:
  /// Reads on where all that was read is used up. \return whether there is something
  bool fill() {
    if (zlib_.avail_in > 0) return true;
    stream_.read(reinterpret_cast<char*>(packed_.data()), std::streamsize(packed_.size()));
    if (stream_.bad()) refuse(std::string("cannot be read: ") + std::strerror(errno));
    zlib_.next_in = packed_.data();
    zlib_.avail_in = unsigned(stream_.gcount());
    return zlib_.avail_in > 0;
  }

  [[nodiscard]] bool begins_member() const {
    return zlib_.avail_in >= 2 && zlib_.next_in[0] == 0x1f && zlib_.next_in[1] == 0x8b;
  }

  std::size_t copy(std::span<std::uint8_t> out) {
    std::size_t size = 0;
    while (size < out.size() && fill()) {
      const std::size_t part = std::min(out.size() - size, std::size_t(zlib_.avail_in));
      std::copy_n(zlib_.next_in, part, out.data() + size);
      zlib_.next_in += part;
      zlib_.avail_in -= unsigned(part);
      size += part;
    }
    return size;
  }

  std::size_t unpack(std::span<std::uint8_t> out) {
    zlib_.next_out = out.data();
    zlib_.avail_out = unsigned(out.size());
    while (zlib_.avail_out > 0) {
      const bool has_more = fill();
      if (at_end_of_member_) {
        if (!has_more) break;
        // Members one behind the other are one file.
        if (inflateReset(&zlib_) != Z_OK) refuse("is a damaged gz file");
        at_end_of_member_ = false;
        behind_first_ = true;
      }
      if (!has_more) refuse("is cut off: the packed file ends in the middle");
      const int result = inflate(&zlib_, Z_NO_FLUSH);
      at_end_of_member_ = result == Z_STREAM_END;
      if (at_end_of_member_) continue;
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result != Z_OK && result != Z_BUF_ERROR) refuse_damaged();
    }
    return out.size() - zlib_.avail_out;
  }

  [[noreturn]] void refuse_damaged() const {
    const std::string why = zlib_.msg != nullptr ? zlib_.msg : "no gzip";
    if (behind_first_ && zlib_.total_out == 0)
      refuse("is a damaged gz file: something else stands behind its end (" + why + ")");
    refuse("is a damaged gz file: " + why);
  }

  fs::path file_;
  std::ifstream stream_;
  std::vector<std::uint8_t> packed_;  // or what is as it is
  z_stream zlib_ = {};                // of a file that is not packed: where in packed_
  bool is_packed_ = false;
  bool at_end_of_member_ = false;
  bool behind_first_ = false;
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
