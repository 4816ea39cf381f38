// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>

namespace movielens {

/// Title per item id, UTF-8.
using Titles = std::unordered_map<std::string, std::string>;

/// \brief Reads the movie titles beside the ratings, of any MovieLens edition.
///
/// movies.csv (UTF-8, quoted titles), movies.dat (`::`) and u.item (`|`), both ISO-8859-1. A line
/// that is not UTF-8 is taken as ISO-8859-1, so re-encoded copies read well, too.
///
/// \param path  a file with ratings or a directory, as for read_ratings
/// \return empty if there is no file with titles: titles are never needed for training
/// \throws FileError with file, line and reason for a row without a title column
[[nodiscard]] Titles read_titles(const std::filesystem::path& path);

/// \brief The text as UTF-8: unchanged if it is, else read as ISO-8859-1.
[[nodiscard]] std::string to_utf8(std::string_view text);

}  // namespace movielens
