// SPDX-License-Identifier: MIT
#include <movielens/ratings.hpp>

#include <algorithm>
#include <charconv>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <movielens/file_error.hpp>
#include <movielens/line_reader.hpp>
#include <movielens/row_splitter.hpp>

namespace movielens {
namespace {

constexpr std::size_t num_columns = 4;

/// Numbers ids in the order of their first appearance.
class IdIndex {
 public:
  std::int32_t number_of(std::string_view id) {
    if (const auto found = numbers_.find(id); found != numbers_.end()) return found->second;
    const auto number = static_cast<std::int32_t>(ids_.size());
    ids_.emplace_back(id);
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
  for (const char* name : {"ratings.csv", "ratings.dat", "u.data"})
    if (std::filesystem::exists(path / name)) return path / name;
  throw FileError(path, "holds none of ratings.csv, ratings.dat and u.data");
}

bool is_header(std::span<const std::string_view> fields) {
  constexpr std::string_view name = "rating";
  return fields.size() == num_columns &&
         std::equal(fields[2].begin(), fields[2].end(), name.begin(), name.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

/// The number in the whole of `text`, or nothing.
std::optional<float> number_in(std::string_view text) {
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

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

Ratings read_ratings(const std::filesystem::path& path) {
  Ratings ratings;
  ratings.file = ratings_file(path);
  LineReader reader(ratings.file);
  IdIndex users;
  IdIndex items;
  std::vector<Row> rows;
  std::optional<RowSplitter> splitter;
  while (reader.next()) {
    if (reader.line().empty()) continue;
    const auto refuse = [&](const std::string& reason) {
      throw FileError(ratings.file, reader.number(), reason);
    };
    const bool is_first = !splitter;
    if (is_first) splitter = RowSplitter::for_first_line(reader.line());
    const auto fields = splitter->split(reader.line());
    if (is_first && is_header(fields)) continue;
    if (fields.size() != num_columns)
      refuse(std::to_string(fields.size()) + (fields.size() == 1 ? " column" : " columns") +
             ", expected 4: user, item, rating, time");
    if (fields[0].empty()) refuse("the user is empty");
    if (fields[1].empty()) refuse("the item is empty");
    const std::optional<float> stars = number_in(fields[2]);
    if (!stars || !(*stars >= fewest_stars && *stars <= most_stars))
      refuse("the rating is " + in_quotes(fields[2]) + ", expected a number from 0.5 to 5");
    rows.push_back({users.number_of(fields[0]), items.number_of(fields[1]), *stars,
                    static_cast<std::uint32_t>(reader.number())});
  }
  if (rows.empty()) throw FileError(ratings.file, "no ratings in it");

  std::vector<std::int32_t> user_number;
  std::vector<std::int32_t> item_number;
  std::tie(ratings.user_ids, user_number) = std::move(users).sorted();
  std::tie(ratings.item_ids, item_number) = std::move(items).sorted();
  for (Row& row : rows) {
    row.user = user_number[static_cast<std::size_t>(row.user)];
    row.item = item_number[static_cast<std::size_t>(row.item)];
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tuple(a.user, a.item, a.line) < std::tuple(b.user, b.item, b.line);
  });
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
