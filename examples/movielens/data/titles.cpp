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
#include <programs/base/files.hpp>

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
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < header.size() && !plain.empty(); ++i) {
    if (plain_name(header[i]) != plain) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

/// Ids of other places, which mean nothing where a column of that name is lacking.
bool is_of_a_catalogue(std::string_view name) {
  constexpr std::string_view catalogues[] = {"imdbid", "tmdbid", "tconst", "isbn",
                                             "isbn10", "isbn13", "asin"};
  return std::find(std::begin(catalogues), std::end(catalogues), name) != std::end(catalogues);
}

bool says_id(std::string_view name) { return name.ends_with("id"); }
bool says_title(std::string_view name) { return name.ends_with("title") || name.ends_with("name"); }

/// Nothing if the titles are those of other ids.
std::optional<TitleTable> title_table(std::span<const std::string_view> line,
                                      std::string_view item_column,
                                      const std::filesystem::path& file, std::size_t number) {
  if (!has_only_words(line)) return TitleTable{};
  const auto title = column_of(Role::title, line);
  std::optional<std::size_t> item = column_named(item_column, line);
  if (item && title) return TitleTable{*item, *title, true};
  const auto refuse = [&](const std::string& lacking, const std::string& example) {
    throw FileError(
        file, number,
        lacking + " among the names of the columns: " + listed(line) + "; expected " + example);
  };
  if (is_named_twice(Role::title, line)) refuse("two titles", "one such as title");
  if (item) refuse("no title", "one such as title");
  if (is_of_a_catalogue(plain_name(item_column))) return std::nullopt;
  if (is_named_twice(Role::item, line)) refuse("two items", "one such as movieId");
  item = column_of(Role::item, line);
  if (!item || item == title) item = column_named("id", line);
  if (item && title && item != title) return TitleTable{*item, *title, true};
  if (title && says_title(plain_name(line[*title]))) refuse("no item", "one such as movieId");
  if (item && says_id(plain_name(line[*item]))) refuse("no title", "one such as title");
  return TitleTable{};
}

/// Items and their titles, in the order of the file.
struct TitleList {
  std::vector<std::string> ids;
  std::vector<std::string> titles;
  bool has_names = false;
};

/// Reads rows; joined files have headers in their middle, and each says what follows.
class TitleReader {
 public:
  TitleReader(const std::filesystem::path& file, std::string_view item_column)
      : file_(file), item_column_(item_column) {}

  TitleList read() {
    LineReader reader(file_, LineReader::Controls::expected);
    std::optional<RowSplitter> splitter;
    while (reader.next()) {
      if (trimmed(reader.line()).empty()) continue;
      const bool is_first = !splitter;
      if (is_first) splitter = RowSplitter::for_first_line(reader.line());
      const auto fields = splitter->split(reader.line());
      if (is_first && !begin(fields, reader.number())) return {};
      if (!take_header(fields)) add(fields, reader.number());
    }
    return std::move(list_);
  }

 private:
  using Fields = std::span<const std::string_view>;

  /// False if the titles are those of other ids.
  bool begin(Fields line, std::size_t number) {
    check_width(line, number);
    const auto found = title_table(line, item_column_, file_, number);
    if (!found) return false;
    table_ = *found;
    list_.has_names = table_.has_header;
    if (!table_.has_header) return true;
    item_name_ = line[table_.item];
    title_name_ = line[table_.title];
    return true;
  }

  /// Is it a header, the first or one further down? Then it says where the columns are.
  bool take_header(Fields line) {
    if (!table_.has_header) return false;
    const auto item = column_named(item_name_, line);
    const auto title = column_named(title_name_, line);
    if (!item || !title) return false;
    table_ = {*item, *title, true};
    return true;
  }

  void add(Fields line, std::size_t number) {
    check_width(line, number);
    list_.ids.push_back(to_utf8(line[table_.item]));
    list_.titles.push_back(printable(line[table_.title]));
  }

  void check_width(Fields line, std::size_t number) const {
    const std::size_t fewest = table_.has_header ? std::max(table_.item, table_.title) + 1 : 2;
    if (line.size() < fewest)
      throw FileError(file_, number,
                      counted(line.size(), "column") + ", expected at least " +
                          std::to_string(fewest) + (fewest == 2 ? ": item, title" : ""));
  }

  const std::filesystem::path& file_;
  std::string_view item_column_;
  TitleTable table_;
  std::string item_name_, title_name_;
  TitleList list_;
};

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
  expect_regular(*file);
  TitleList list = TitleReader(*file, item_column).read();
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
