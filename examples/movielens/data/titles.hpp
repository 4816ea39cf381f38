// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>

#include <programs/base/utf8.hpp>

namespace programs::movielens {

/// Title per item id, in UTF-8 that a terminal can be given.
using Titles = std::unordered_map<std::string, std::string>;

/// \brief Reads the titles beside the ratings, of any MovieLens edition and of Book-Crossing.
///
/// movies.csv, movies.dat (`::`), u.item (`|`) or BX-Books.csv, first that of the edition of the
/// ratings. If the first line names an item and a title, they are in these columns, whatever others
/// there are; else they are the first two. Bytes that are not UTF-8 are taken as Windows-1252, and
/// control characters have U+FFFD in their place.
///
/// \param path         a file with ratings or a directory, as for read_ratings
/// \param item_column  the name of the items' column in the ratings: if the titles have a column of
///                     that name, it is that of the item
/// \return empty if there is no file with titles: titles are never needed for training
/// \throws FileError with file, line and reason for a row without a title column, and for columns
///         that cannot be item and title
[[nodiscard]] Titles read_titles(const std::filesystem::path& path,
                                 std::string_view item_column = {});

}  // namespace programs::movielens
