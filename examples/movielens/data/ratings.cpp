// SPDX-License-Identifier: MIT
#include <movielens/data/ratings.hpp>

#include <algorithm>
#include <numeric>
#include <ostream>
#include <string_view>
#include <tuple>
#include <utility>

#include <movielens/data/duplicates.hpp>
#include <movielens/data/line_reader.hpp>
#include <movielens/data/numbers.hpp>
#include <movielens/data/row_reader.hpp>
#include <movielens/data/scale.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/utf8.hpp>

namespace programs::movielens {
namespace {

std::filesystem::path ratings_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  std::filesystem::path found;
  for (const char* name :
       {"ratings.csv", "ratings.dat", "u.data", "jester-data-1.csv", "BX-Book-Ratings.csv"}) {
    if (!std::filesystem::exists(path / name)) continue;
    if (!found.empty())
      throw FileError(path, "holds both " + found.filename().string() + " and " + name +
                                ": --data has to name one of them");
    found = path / name;
  }
  if (found.empty())
    throw FileError(path,
                    "holds none of ratings.csv, ratings.dat, u.data, jester-data-1.csv and "
                    "BX-Book-Ratings.csv");
  expect_regular(found);
  return found;
}

std::string why_there_are_none(const RowReader& reader) {
  if (reader.left_out() == 0) return "no ratings in it";
  return "no ratings in it, " + counted(reader.left_out(), "row") +
         " with what means \"not rated\"";
}

std::string how_to_merge(const TableOptions& options, const RatingTable& table) {
  if (!options.duplicates.empty()) return options.duplicates;
  return table.first_counts ? "first" : "error";
}

}  // namespace

Ratings read_ratings(const std::filesystem::path& path, const TableOptions& options) {
  check(options);
  Ratings ratings;
  ratings.file = ratings_file(path);
  RowReader reader(ratings.file, options);
  reader.read();
  std::vector<Row>& rows = reader.rows;
  if (rows.empty()) throw FileError(ratings.file, why_there_are_none(reader));
  ratings.item_column = reader.table().item_name;
  ratings.notes = std::move(reader.notes);
  if (options.not_rated && reader.left_out() == 0)
    ratings.notes.push_back(ratings.file.string() + ": no row has --not-rated " +
                            in_quotes(*options.not_rated));
  if (reader.table().takes_all())
    for (const std::string& remark : remarks_on_scale(rows))
      ratings.notes.push_back(ratings.file.string() + ": " + remark);

  std::vector<std::int32_t> user_number;
  std::vector<std::int32_t> item_number;
  std::tie(ratings.user_ids, user_number) = std::move(reader.users).sorted();
  std::tie(ratings.item_ids, item_number) = std::move(reader.items).sorted();
  for (Row& row : rows) {
    row.user = user_number[static_cast<std::size_t>(row.user)];
    row.item = item_number[static_cast<std::size_t>(row.item)];
  }
  const auto is_before = [](const Row& a, const Row& b) {
    return std::tuple(a.user, a.item, a.line) < std::tuple(b.user, b.item, b.line);
  };
  if (!std::is_sorted(rows.begin(), rows.end(), is_before))
    std::sort(rows.begin(), rows.end(), is_before);
  merge_duplicates(rows, how_to_merge(options, reader.table()), ratings.user_ids, ratings.item_ids,
                   ratings.file);

  ratings.offsets.assign(ratings.user_ids.size() + 1, 0);
  ratings.item.reserve(rows.size());
  ratings.value.reserve(rows.size());
  for (const Row& row : rows) {
    ++ratings.offsets[static_cast<std::size_t>(row.user) + 1];
    ratings.item.push_back(row.item);
    ratings.value.push_back(row.stars);
  }
  std::partial_sum(ratings.offsets.begin(), ratings.offsets.end(), ratings.offsets.begin());
  return ratings;
}

void print_notes(const std::vector<std::string>& notes, std::ostream& out) {
  for (const std::string& note : notes) out << "movielens: note: " << printable(note) << '\n';
  out.flush();
}

std::string source_of(const std::filesystem::path& ratings_file) {
  const std::filesystem::path note = ratings_file.parent_path() / "SOURCE";
  if (std::filesystem::is_regular_file(note)) {
    LineReader reader(note);
    if (reader.next() && !reader.line().empty()) return std::string(reader.line());
  }
  return ratings_file.string();
}

}  // namespace programs::movielens
