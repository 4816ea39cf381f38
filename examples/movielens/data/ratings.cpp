// SPDX-License-Identifier: MIT
#include <movielens/data/ratings.hpp>

#include <algorithm>
#include <charconv>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <movielens/base/file_error.hpp>
#include <movielens/data/line_reader.hpp>
#include <movielens/data/rating_table.hpp>
#include <movielens/data/row_splitter.hpp>
#include <movielens/data/titles.hpp>

namespace movielens {
namespace {

/// Numbers ids in the order of their first appearance.
class IdIndex {
 public:
  std::int32_t number_of(std::string_view text) {
    const std::string id = to_utf8(text);  // here, so that both encodings of an id are one id
    if (const auto found = numbers_.find(id); found != numbers_.end()) return found->second;
    const auto number = static_cast<std::int32_t>(ids_.size());
    ids_.push_back(id);
    numbers_.emplace(id, number);
    return number;
  }

  /// The ids in their final order, and the final number of each provisional one.
  std::pair<std::vector<std::string>, std::vector<std::int32_t>> sorted() && {
    std::vector<std::int32_t> order(ids_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [this](std::int32_t a, std::int32_t b) {
      const std::string& left = ids_[static_cast<std::size_t>(a)];
      const std::string& right = ids_[static_cast<std::size_t>(b)];
      return std::tuple(left.size(), std::string_view(left)) <
             std::tuple(right.size(), std::string_view(right));
    });
    std::vector<std::string> ids(ids_.size());
    std::vector<std::int32_t> final_number(ids_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto provisional = static_cast<std::size_t>(order[i]);
      ids[i] = std::move(ids_[provisional]);
      final_number[provisional] = static_cast<std::int32_t>(i);
    }
    return {std::move(ids), std::move(final_number)};
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> numbers_;
  std::vector<std::string> ids_;
};

struct Row {
  std::int32_t user;
  std::int32_t item;
  float stars;
  std::uint32_t line;
};

std::filesystem::path ratings_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name :
       {"ratings.csv", "ratings.dat", "u.data", "jester-data-1.csv", "BX-Book-Ratings.csv"})
    if (std::filesystem::exists(path / name)) return path / name;
  throw FileError(path,
                  "holds none of ratings.csv, ratings.dat, u.data, jester-data-1.csv and "
                  "BX-Book-Ratings.csv");
}

/// "3", "-10", "3.4e+38".
std::string shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

/// Reads the rows of a file into ratings with provisional numbers of users and items.
class RowReader {
 public:
  RowReader(const std::filesystem::path& file, std::span<const std::string> columns)
      : file_(file), columns_(columns) {}

  void read() {
    LineReader reader(file_);
    std::optional<RowSplitter> splitter;
    while (reader.next()) {
      if (reader.line().empty()) continue;
      line_ = reader.number();
      const bool is_first = !splitter;
      if (is_first) splitter = RowSplitter::for_first_line(reader.line());
      const auto fields = splitter->split(reader.line());
      if (is_first) {
        table_ = RatingTable::of(fields, columns_);
        if (table_.has_header) continue;
      }
      if (fields.size() != table_.num_columns)
        refuse(std::to_string(fields.size()) + (fields.size() == 1 ? " column" : " columns") +
               ", expected " + std::to_string(table_.num_columns) + ": " + table_.column_names);
      if (table_.rows == RatingTable::Rows::users)
        add_user(fields);
      else
        add_rating(fields);
    }
  }

  std::vector<Row> rows;
  IdIndex users;
  IdIndex items;
  [[nodiscard]] const RatingTable& table() const noexcept { return table_; }

 private:
  void add_rating(std::span<const std::string_view> fields) {
    if (fields[table_.user].empty()) refuse("the user is empty");
    if (fields[table_.item].empty()) refuse("the item is empty");
    const std::string_view text = fields[table_.rating];
    if (table_.zero_is_implicit && number_in(text) == 0.0F) return;
    add(users.number_of(fields[table_.user]), items.number_of(fields[table_.item]), stars_in(text));
  }

  void add_user(std::span<const std::string_view> fields) {
    const std::int32_t user = users.number_of(std::to_string(++num_users_));
    float rated = 0;
    for (std::size_t i = 1; i < fields.size(); ++i) {
      if (number_in(fields[i]) == jester_not_rated) continue;
      add(user, items.number_of(std::to_string(i)), stars_in(fields[i]));
      ++rated;
    }
    if (number_in(fields[0]) != rated)
      refuse("the row has " + shortest(rated) + " ratings, and says " + in_quotes(fields[0]));
  }

  float stars_in(std::string_view text) const {
    const std::optional<float> stars = number_in(text);
    if (!stars || !(*stars >= table_.lowest && *stars <= table_.highest))
      refuse("the rating is " + in_quotes(text) + ", expected a number from " +
             shortest(table_.lowest) + " to " + shortest(table_.highest));
    return *stars;
  }

  void add(std::int32_t user, std::int32_t item, float stars) {
    rows.push_back({user, item, stars, static_cast<std::uint32_t>(line_)});
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    throw FileError(file_, line_, reason);
  }

  const std::filesystem::path& file_;
  std::span<const std::string> columns_;
  RatingTable table_;
  std::size_t line_ = 0;
  std::size_t num_users_ = 0;  // of a table with a row per user
};

/// Throws at the second of two rows with the same user and item, naming the first.
void refuse_duplicates(const Ratings& ratings, const std::vector<Row>& rows) {
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].user != rows[i - 1].user || rows[i].item != rows[i - 1].item) continue;
    throw FileError(ratings.file, rows[i].line,
                    "user " + in_quotes(ratings.user_ids[static_cast<std::size_t>(rows[i].user)]) +
                        " rates item " +
                        in_quotes(ratings.item_ids[static_cast<std::size_t>(rows[i].item)]) +
                        " a second time, first in line " + std::to_string(rows[i - 1].line));
  }
}

}  // namespace

Ratings read_ratings(const std::filesystem::path& path, std::span<const std::string> columns) {
  Ratings ratings;
  ratings.file = ratings_file(path);
  RowReader reader(ratings.file, columns);
  reader.read();
  std::vector<Row>& rows = reader.rows;
  if (rows.empty()) throw FileError(ratings.file, "no ratings in it");

  std::vector<std::int32_t> user_number;
  std::vector<std::int32_t> item_number;
  std::tie(ratings.user_ids, user_number) = std::move(reader.users).sorted();
  std::tie(ratings.item_ids, item_number) = std::move(reader.items).sorted();
  for (Row& row : rows) {
    row.user = user_number[static_cast<std::size_t>(row.user)];
    row.item = item_number[static_cast<std::size_t>(row.item)];
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tuple(a.user, a.item, a.line) < std::tuple(b.user, b.item, b.line);
  });
  if (reader.table().may_repeat)
    rows.erase(std::unique(
                   rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.user == b.user && a.item == b.item; }),
               rows.end());
  refuse_duplicates(ratings, rows);

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

std::string source_of(const std::filesystem::path& ratings_file) {
  const std::filesystem::path note = ratings_file.parent_path() / "SOURCE";
  if (std::filesystem::is_regular_file(note)) {
    LineReader reader(note);
    if (reader.next() && !reader.line().empty()) return std::string(reader.line());
  }
  return ratings_file.string();
}

}  // namespace movielens
