// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include <movielens/data/table_options.hpp>

namespace programs::movielens {

/// \brief Who rated what, sorted by user and then by item.
///
/// Users and items are numbered from 0 in the order of their ids: shorter ids first, then
/// alphabetically, which for whole numbers is the order of their values. So the numbering, and all
/// that is drawn from it, does not depend on the order of the rows in the file.
struct Ratings {
  std::vector<std::size_t> offsets;   ///< user u owns the ratings [offsets[u], offsets[u + 1])
  std::vector<std::int32_t> item;     ///< per rating, increasing within a user
  std::vector<float> value;           ///< per rating, in stars or whatever the set has
  std::vector<std::string> user_ids;  ///< per user, as in the file but for spell_alike()
  std::vector<std::string> item_ids;  ///< per item, the same
  std::filesystem::path file;         ///< where they come from
  std::string item_column;            ///< name of the items' column, empty if it has none
  std::vector<std::string> notes;     ///< a line for each decision that may surprise

  [[nodiscard]] std::size_t size() const noexcept { return item.size(); }
  [[nodiscard]] std::int32_t num_users() const noexcept {
    return static_cast<std::int32_t>(user_ids.size());
  }
  [[nodiscard]] std::int32_t num_items() const noexcept {
    return static_cast<std::int32_t>(item_ids.size());
  }
  /// The items a user rated, increasing.
  [[nodiscard]] std::span<const std::int32_t> items_of(std::int32_t user) const {
    const std::size_t u = static_cast<std::size_t>(user);
    return std::span(item).subspan(offsets[u], offsets[u + 1] - offsets[u]);
  }
};

inline constexpr float fewest_stars = 0.5F;
inline constexpr float most_stars = 5.0F;

/// \brief Reads a set of ratings, recognised by its content.
///
/// - A table with names in its first line: they say where user, item and rating are, in any order
///   and case, whatever other columns there are (see column_of() for the names that are known).
///   movieId and rating are MovieLens', from 0.5 to 5. ISBN and Book-Rating are Book-Crossing's,
///   from 1 to 10; rows with 0, which say that somebody had the book, are left out. Of any others
///   every finite rating is right.
/// - Without names: user, item, stars from 0.5 to 5, and the time of rating or nothing.
/// - Jester: a row per user with the number of ratings, then a rating from -10 to 10 per item, 99
///   for none. Users and items are named by their row and column.
/// - Any other table, if the options say where user, item and rating are; every finite rating is
///   right.
///
/// Fields are separated as RowSplitter has it, and lines end as LineReader has it. The time is not
/// used and not looked at. A rating may have a decimal comma. Ids may be any text, in UTF-8 or
/// Windows-1252, see IdIndex.
///
/// A pair (user, item) that comes twice is refused unless the options say what to do, but for
/// Book-Crossing, of whose few the first counts: no MovieLens edition has one, so the copy is
/// damaged, and a pair in two splits would leak a test rating into training.
///
/// \param path     the file, or a directory with one of ratings.csv, ratings.dat, u.data,
///                 jester-data-1.csv and BX-Book-Ratings.csv
/// \throws FileError if there is no such file, or with file, line and reason for the first row
///         that is not as above
/// \throws std::invalid_argument for options that are wrong, or name a column that the table lacks
/// \par Cost  about 0.2 s and 16 MB of scratch per million ratings
[[nodiscard]] Ratings read_ratings(const std::filesystem::path& path,
                                   const TableOptions& options = {});

/// The notes of Ratings, for people: a line each.
void print_notes(const std::vector<std::string>& notes, std::ostream& out);

/// \brief Where data come from, for the record: the first line of the file SOURCE beside them if
/// there is one, else the path itself.
[[nodiscard]] std::string source_of(const std::filesystem::path& ratings_file);

}  // namespace programs::movielens
