// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

/// \file
/// \brief Text from any file or folder.

namespace programs::next_character {

/// \brief Where the standard library of the newest Python of this machine is; empty if there is
/// none.
[[nodiscard]] std::filesystem::path python_library();

/// \brief The texts at a path, in the order of their names: the file itself, or those of a folder
/// and the folders below it.
///
/// Of a folder come the files with one of the endings or, without any, those without a zero byte in
/// the first 8,000: what is else there is no text. Folders and files whose name begins with a point
/// are left out, and so are `site-packages` and `dist-packages`, which differ from machine to
/// machine, and links.
/// \param endings  ".py", for example
/// \throws FileError if there is nothing there, or no text
[[nodiscard]] std::vector<std::filesystem::path> text_files(
    const std::filesystem::path& path, const std::vector<std::string>& endings);

/// \brief Whether a file of a name, there or not yet, is one of the texts of a folder if it is a
/// text; false if `path` is no folder.
[[nodiscard]] bool is_below(const std::filesystem::path& path,
                            const std::vector<std::string>& endings,
                            const std::filesystem::path& file);

/// \brief Files one behind the other.
struct JoinedFiles {
  std::string text;
  std::vector<std::size_t> ends;  ///< of the files, in bytes of the text
};

/// \brief Reads files, in a random order that the key decides. Needs no more memory than the text
/// has.
/// \throws FileError if one of them cannot be read
[[nodiscard]] JoinedFiles read_shuffled(std::vector<std::filesystem::path> files,
                                        comet::RandomKey key);

}  // namespace programs::next_character
