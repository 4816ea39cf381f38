// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace movielens {

/// \brief Reads a text file line by line in a fixed amount of memory.
///
/// Lines end with LF or CRLF, the last one with or without. A UTF-8 byte order mark is skipped.
/// A file with control characters, or with a line longer than the buffer, is no text file and is
/// refused with the number of the line.
class LineReader {
 public:
  /// \throws FileError if the file cannot be opened
  explicit LineReader(const std::filesystem::path& file);

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
  void fill();
  void refuse_control_characters() const;

  std::filesystem::path file_;
  std::ifstream stream_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what is read and not yet given out
  std::size_t end_ = 0;
  bool at_end_ = false;
  std::string_view line_;
  std::size_t number_ = 0;
};

}  // namespace movielens
