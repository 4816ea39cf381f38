// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

/// The bytes of a file. \throws FileError if it cannot be opened or read
[[nodiscard]] std::string read_file(const std::filesystem::path& file);

/// \brief Where data come from, for the record: the first line of the file SOURCE beside them,
/// which made-up and fetched data have, else the folder.
/// \throws FileError if it cannot be read
[[nodiscard]] std::string source_of(const std::filesystem::path& folder);

/// \brief Of a file that is found in a folder: a pipe there would be waited for without end, a
/// device read without end.
/// \throws FileError for what is neither a file nor a folder
void expect_regular(const std::filesystem::path& file);

/// Where a path leads, without links and points, whether or not there is anything yet.
[[nodiscard]] std::filesystem::path real_path(const std::filesystem::path& path);

/// \brief What is read.
struct Inputs {
  std::vector<std::filesystem::path> paths;  ///< files, and perhaps folders; some may be empty
  /// Whether a file of a name, there or not yet, is one that is read with its folder; may be empty.
  std::function<bool(const std::filesystem::path& file)> take_in = {};
};

/// \brief Of a file that will be written: it must be none of those that are read, nor become one,
/// with which the same command would find other data the next time.
/// \throws std::invalid_argument naming the option and the file
void refuse_input(const char* flag, const std::filesystem::path& target, const Inputs& inputs);
/// The same of several in a folder.
template <class Names>
void refuse_inputs(const char* flag, const std::filesystem::path& folder, const Names& names,
                   const Inputs& inputs) {
  for (const char* const name : names) refuse_input(flag, folder / name, inputs);
}

/// Removes a file that may not be there. \throws FileError if that is not possible
void remove_file(const std::filesystem::path& file);

/// \brief Writes a file so that a reader, or a crash, sees the old content or the new, never less:
/// beside it, to the disk, then renamed.
/// \throws FileError if that is not possible
void write_atomically(const std::filesystem::path& file, std::string_view content);

/// \brief A file that grows by whole lines. Each is one write to the end of the file, so several
/// processes may share it.
class LineLog {
 public:
  enum class Open { fresh, append };

  /// \throws FileError if the file cannot be opened for writing
  LineLog(std::filesystem::path file, Open mode);
  LineLog(LineLog&& other) noexcept;
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;
  LineLog& operator=(LineLog&&) = delete;
  ~LineLog();

  /// Adds a line; `line` has no end-of-line itself. \throws FileError, for example on a full disk
  void append(std::string_view line);

  /// Brings all lines to the disk. \return the length of the file in bytes
  [[nodiscard]] std::uint64_t sync() const;
  /// Drops all but the first bytes. \throws FileError if there are not so many
  void cut(std::uint64_t length);

 private:
  std::filesystem::path file_;
  int descriptor_;
};

/// Makes a directory and those above it where missing. \throws FileError if that is not possible
void make_directories(const std::filesystem::path& directory);

}  // namespace programs
