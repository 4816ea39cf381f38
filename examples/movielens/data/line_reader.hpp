// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace programs::movielens {

/// \brief Reads a text file line by line in a fixed amount of memory.
///
/// Lines end with LF, CRLF or CR, the last one with or without. A UTF-8 byte order mark begins a
/// line wherever it is, and is skipped: joined files have some in their middle. A table that begins
/// like an archive, a spreadsheet, JSON or UTF-16 is refused in words; a file with zero bytes, with
/// control characters if they are not expected, or with a line longer than the buffer, is no text
/// file and is refused with the number of the line.
class LineReader {
 public:
  enum class Controls { refused, expected };
  enum class Content { table, any };  ///< of a table, other kinds of files are refused at once

  /// \throws FileError if the file cannot be opened, or is of another kind
  explicit LineReader(const std::filesystem::path& file, Controls controls = Controls::refused,
                      Content content = Content::table);

  /// Moves to the next line; false at the end of the file. \throws FileError
  [[nodiscard]] bool next();

  /// The current line without its end; valid until the next call of next().
  [[nodiscard]] std::string_view line() const noexcept { return line_; }

  /// Number of the current line, from 1.
  [[nodiscard]] std::size_t number() const noexcept { return number_; }

 private:
  [[nodiscard]] std::string_view unread() const noexcept {
    return {buffer_.data() + begin_, end_ - begin_};
  }
  [[nodiscard]] std::size_t next_number() const noexcept { return number_ + (goes_on_ ? 0 : 1); }
  void fill();
  void skip_byte_order_marks();
  [[nodiscard]] std::size_t end_of_line(std::string_view text, std::size_t from) const;
  void take_line(std::string_view text, std::size_t length);

  std::filesystem::path file_;
  Controls controls_;
  std::ifstream stream_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what is read and not yet given out
  std::size_t end_ = 0;
  bool at_end_ = false;
  std::string_view line_;
  std::size_t number_ = 0;
  bool goes_on_ = false;  // the line, behind a byte order mark
};

}  // namespace programs::movielens
