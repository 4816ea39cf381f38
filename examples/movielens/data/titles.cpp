// SPDX-License-Identifier: MIT
#include <movielens/data/titles.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <movielens/data/header.hpp>
#include <movielens/data/id_index.hpp>
#include <movielens/data/line_reader.hpp>
#include <movielens/data/numbers.hpp>
#include <movielens/data/row_splitter.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

/// Files with titles, and the ratings they belong to.
struct Edition {
  std::string_view titles;
  std::string_view ratings;
};
constexpr auto editions = std::to_array<Edition>({{"movies.csv", "ratings.csv"},
                                                  {"movies.dat", "ratings.dat"},
                                                  {"u.item", "u.data"},
                                                  {"BX-Books.csv", "BX-Book-Ratings.csv"}});

std::optional<std::filesystem::path> titles_file(const std::filesystem::path& path) {
  const bool is_directory = std::filesystem::is_directory(path);
  const auto directory = is_directory ? path : path.parent_path();
  std::optional<std::filesystem::path> found;
  for (const Edition& edition : editions) {
    if (!std::filesystem::exists(directory / edition.titles)) continue;
    const bool belongs = is_directory ? std::filesystem::exists(directory / edition.ratings)
                                      : path.filename() == edition.ratings;
    if (belongs) return directory / edition.titles;
    if (!found) found = directory / edition.titles;
  }
  return found;
}

struct TitleTable {
  std::size_t item = 0, title = 1;
  bool has_header = false;
};

std::optional<std::size_t> column_named(std::string_view name,
                                        std::span<const std::string_view> header) {
  const std::string plain = plain_name(name);
  if (plain.empty()) return std::nullopt;
  const auto found = std::find_if(header.begin(), header.end(),
                                  [&](auto each) { return plain_name(each) == plain; });
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

/// Ids of other places, which mean nothing where a column of that name is lacking.
bool is_of_a_catalogue(std::string_view name) {
  constexpr std::string_view catalogues[] = {"imdbid", "tmdbid", "tconst", "isbn",
                                             "isbn10", "isbn13", "asin"};
  return std::find(std::begin(catalogues), std::end(catalogues), name) != std::end(catalogues);
}

bool says_title(std::string_view name) { return name.ends_with("title") || name.ends_with("name"); }

/// Nothing if the titles are those of other ids.
std::optional<TitleTable> title_table(std::span<const std::string_view> line,
                                      std::string_view item_column,
                                      const std::filesystem::path& file, std::size_t number) {
  if (!has_only_words(line)) return TitleTable{};
  const auto title = column_of(Role::title, line);
  std::optional<std::size_t> item = column_named(item_column, line);
  if (item && title) return TitleTable{*item, *title, true};
  if (is_of_a_catalogue(plain_name(item_column))) return std::nullopt;
  item = column_of(Role::item, line);
  if (!item || item == title) item = column_named("id", line);
  if (item && title && item != title) return TitleTable{*item, *title, true};
  if (title && says_title(plain_name(line[*title])))
    throw FileError(file, number,
                    "no item among the names of the columns: " + listed(line) +
                        "; expected one such as movieId");
  return TitleTable{};
}

/// Items and their titles, in the order of the file.
struct TitleList {
  std::vector<std::string> ids;
  std::vector<std::string> titles;
  bool has_names = false;
};

TitleList read_rows(const std::filesystem::path& file, std::string_view item_column) {
  TitleList list;
  LineReader reader(file, LineReader::Controls::expected);
  std::optional<RowSplitter> splitter;
  TitleTable table;
  std::vector<std::string> header;
  while (reader.next()) {
    if (trimmed(reader.line()).empty()) continue;
    const bool is_first = !splitter;
    if (is_first) splitter = RowSplitter::for_first_line(reader.line());
    const auto fields = splitter->split(reader.line());
    const std::size_t fewest = table.has_header ? std::max(table.item, table.title) + 1 : 2;
    if (fields.size() < fewest)
      throw FileError(file, reader.number(),
                      counted(fields.size(), "column") + ", expected at least " +
                          std::to_string(fewest) + (fewest == 2 ? ": item, title" : ""));
    if (is_first) {
      const auto found = title_table(fields, item_column, file, reader.number());
      if (!found) return {};
      table = *found;
      list.has_names = table.has_header;
      header.assign(fields.begin(), fields.end());
    }
    // Joined files have headers in their middle, too.
    if (table.has_header && std::equal(fields.begin(), fields.end(), header.begin(), header.end()))
      continue;
    list.ids.push_back(to_utf8(fields[table.item]));
    list.titles.push_back(printable(fields[table.title]));
  }
  return list;
}

/// Some movies are named by a number, but not all of a set.
bool are_numbers(const std::vector<std::string>& titles) {
  constexpr std::size_t some = 2;
  return titles.size() >= some &&
         std::all_of(titles.begin(), titles.end(),
                     [](const std::string& title) { return number_in(title).has_value(); });
}

}  // namespace

Titles read_titles(const std::filesystem::path& path, std::string_view item_column) {
  const auto file = titles_file(path);
  if (!file) return {};
  TitleList list = read_rows(*file, item_column);
  if (!list.has_names && are_numbers(list.titles))
    throw FileError(
        *file,
        "the second column has nothing but numbers, expected titles; names in the first "
        "line, such as movieId and title, say which columns count");
  spell_alike(list.ids);
  Titles titles;
  for (std::size_t i = 0; i < list.ids.size(); ++i)
    if (!list.titles[i].empty()) titles.insert_or_assign(list.ids[i], std::move(list.titles[i]));
  return titles;
}

}  // namespace programs::movielens
