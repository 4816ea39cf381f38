// SPDX-License-Identifier: MIT
#include <movielens/data/line_reader.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <movielens/base/file_error.hpp>

namespace movielens {
namespace {

constexpr std::size_t buffer_size = std::size_t{1} << 20;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(const std::filesystem::path& file)
    : file_(file), buffer_(buffer_size, '\0') {
  if (std::filesystem::is_directory(file)) throw FileError(file, "is a directory");
  stream_.open(file, std::ios::binary);
  if (!stream_) throw FileError(file, "cannot be opened: " + std::string(std::strerror(errno)));
  fill();
  if (unread().starts_with(byte_order_mark)) begin_ = byte_order_mark.size();
}

bool LineReader::next() {
  std::string_view rest = unread();
  while (rest.find('\n') == std::string_view::npos && !at_end_) {
    if (rest.size() == buffer_.size())
      throw FileError(file_, number_ + 1, "a line of more than 1 MiB: this is not a text file");
    fill();
    rest = unread();
  }
  if (rest.empty()) return false;
  line_ = rest.substr(0, rest.find('\n'));
  begin_ += std::min(line_.size() + 1, rest.size());
  ++number_;
  if (line_.ends_with('\r')) line_.remove_suffix(1);
  refuse_control_characters();
  return true;
}

void LineReader::fill() {
  end_ -= begin_;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_);
  begin_ = 0;
  stream_.read(buffer_.data() + end_, static_cast<std::streamsize>(buffer_.size() - end_));
  end_ += static_cast<std::size_t>(stream_.gcount());
  if (stream_.bad()) throw FileError(file_, number_ + 1, "cannot be read");
  at_end_ = stream_.eof();
}

void LineReader::refuse_control_characters() const {
  for (const char c : line_)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t')
      throw FileError(
          file_, number_,
          "control character " + std::to_string(static_cast<int>(c)) + ": this is not a text file");
}

}  // namespace movielens
