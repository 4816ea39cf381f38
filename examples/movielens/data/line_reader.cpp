// SPDX-License-Identifier: MIT
#include <movielens/data/line_reader.hpp>

#include <cerrno>
#include <cstring>

#include <movielens/data/file_kind.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

constexpr std::size_t longest_line = std::size_t{1} << 20;
constexpr std::size_t longest_end = 3;  // a byte order mark, or CR CR LF
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(const std::filesystem::path& file, Controls controls, Content content)
    : file_(file), controls_(controls), buffer_(longest_line + longest_end, '\0') {
  if (std::filesystem::is_directory(file)) throw FileError(file, "is a directory");
  stream_.open(file, std::ios::binary);
  if (!stream_) throw FileError(file, "cannot be opened: " + std::string(std::strerror(errno)));
  fill();
  if (content == Content::any) return;
  if (const std::string_view reason = other_kind_of_file(unread()); !reason.empty())
    throw FileError(file, reason);
}

bool LineReader::next() {
  skip_byte_order_marks();
  std::size_t length = end_of_line(unread(), 0);
  // An end is known as such when all of it is there.
  while (!at_end_ && end_ - begin_ < length + longest_end) {
    if (length >= longest_line)
      throw FileError(file_, next_number(), "a line of more than 1 MiB: this is not a text file");
    fill();
    length = end_of_line(unread(), length);
  }
  if (unread().empty()) return false;
  take_line(unread(), length);
  return true;
}

void LineReader::skip_byte_order_marks() {
  while (true) {
    if (!at_end_ && end_ - begin_ < byte_order_mark.size()) fill();
    if (!unread().starts_with(byte_order_mark)) return;
    begin_ += byte_order_mark.size();
  }
}

std::size_t LineReader::end_of_line(std::string_view text, std::size_t from) const {
  constexpr unsigned char mark = 0xEF;
  for (std::size_t i = from; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != mark) continue;
    if (c == '\n' || c == '\r') return i;
    if (c == mark) {
      const std::string_view there = text.substr(i, byte_order_mark.size());
      const bool complete = there.size() == byte_order_mark.size() || at_end_;
      if (complete ? there == byte_order_mark : byte_order_mark.starts_with(there)) return i;
    } else if (c == '\0' || (c != '\t' && controls_ == Controls::refused)) {
      throw FileError(
          file_, next_number(),
          "control character " + std::to_string(static_cast<int>(c)) + ": this is not a text file");
    }
  }
  return text.size();
}

void LineReader::take_line(std::string_view text, std::size_t length) {
  number_ = next_number();
  line_ = text.substr(0, length);
  const std::string_view rest = text.substr(length);
  goes_on_ = rest.starts_with(byte_order_mark);
  begin_ += length;
  if (goes_on_ || rest.empty()) return;
  for (const std::string_view end : {"\r\r\n", "\r\n", "\n", "\r"}) {
    if (!rest.starts_with(end)) continue;
    begin_ += end.size();
    return;
  }
}

void LineReader::fill() {
  end_ -= begin_;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_);
  begin_ = 0;
  stream_.read(buffer_.data() + end_, static_cast<std::streamsize>(buffer_.size() - end_));
  end_ += static_cast<std::size_t>(stream_.gcount());
  if (stream_.bad()) throw FileError(file_, next_number(), "cannot be read");
  at_end_ = stream_.eof();
}

}  // namespace programs::movielens
