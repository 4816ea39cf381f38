// SPDX-License-Identifier: MIT
#include <movielens/data/header.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include <movielens/data/numbers.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

// The more usual names come first.
constexpr auto user_names = std::to_array<std::string_view>(
    {"userid",   "user",       "useridx",  "userindex",  "userno",   "usernumber",
     "uid",      "reviewerid", "reviewer", "customerid", "customer", "memberid",
     "member",   "viewerid",   "viewer",   "readerid",   "reader",   "listenerid",
     "listener", "raterid",    "rater",    "accountid",  "account",  "personid",
     "person",   "profileid",  "username", "login",      "u"});
constexpr auto item_names = std::to_array<std::string_view>(
    {"movieid",   "movie",    "filmid",     "film",      "itemid",       "item",       "bookid",
     "book",      "isbn",     "isbn13",     "isbn10",    "productid",    "product",    "asin",
     "animeid",   "anime",    "songid",     "song",      "trackid",      "track",      "albumid",
     "album",     "artistid", "artist",     "showid",    "show",         "seriesid",   "series",
     "gameid",    "game",     "businessid", "business",  "restaurantid", "restaurant", "recipeid",
     "recipe",    "jokeid",   "joke",       "articleid", "article",      "placeid",    "place",
     "beerid",    "beer",     "itemidx",    "itemindex", "movieidx",     "movieindex", "iid",
     "mid",       "bid",      "tconst",     "imdbid",    "tmdbid",       "movietitle", "booktitle",
     "itemtitle", "itemname", "title",      "i"});
constexpr auto rating_names = std::to_array<std::string_view>(
    {"rating",        "ratings",    "ratingvalue", "ratingscore",   "movierating",
     "bookrating",    "itemrating", "userrating",  "myrating",      "reviewrating",
     "overallrating", "starrating", "score",       "scores",        "userscore",
     "reviewscore",   "stars",      "star",        "rate",          "rated",
     "overall",       "grade",      "mark",        "reviewoverall", "points",
     "preference",    "r"});
constexpr auto title_names = std::to_array<std::string_view>(
    {"title",        "movietitle",    "filmtitle",    "booktitle", "itemtitle",
     "primarytitle", "originaltitle", "animetitle",   "gametitle", "songtitle",
     "name",         "moviename",     "filmname",     "bookname",  "itemname",
     "productname",  "animename",     "englishtitle", "movie",     "film",
     "book",         "item",          "anime",        "song",      "game"});

std::span<const std::string_view> names_of(Role role) {
  switch (role) {
    case Role::user:
      return user_names;
    case Role::item:
      return item_names;
    case Role::rating:
      return rating_names;
    case Role::title:
      break;
  }
  return title_names;
}

/// Those of the most usual name that is there.
std::vector<std::size_t> columns_of(Role role, std::span<const std::string_view> header) {
  std::vector<std::string> plain;
  plain.reserve(header.size());
  for (const std::string_view name : header) plain.push_back(plain_name(name));
  std::vector<std::size_t> columns;
  for (const std::string_view name : names_of(role)) {
    for (std::size_t i = 0; i < plain.size(); ++i)
      if (plain[i] == name) columns.push_back(i);
    if (!columns.empty()) break;
  }
  return columns;
}

}  // namespace

std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name.substr(0, name.find(':'))) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    const bool is_other =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80U;
    if (is_upper || is_other) plain += is_upper ? static_cast<char>(c | 0x20) : c;
  }
  return plain;
}

bool equal_without_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::size_t> column_of(Role role, std::span<const std::string_view> header) {
  const auto columns = columns_of(role, header);
  return columns.size() == 1 ? std::optional(columns.front()) : std::nullopt;
}

bool is_named_twice(Role role, std::span<const std::string_view> header) {
  return columns_of(role, header).size() > 1;
}

bool names_ratings(std::span<const std::string_view> line) {
  const auto rating = column_of(Role::rating, line);
  return rating && !number_in(line[*rating]) && column_of(Role::user, line) &&
         column_of(Role::item, line);
}

bool has_only_words(std::span<const std::string_view> line) {
  return std::any_of(line.begin(), line.end(), [](auto field) { return !field.empty(); }) &&
         std::none_of(line.begin(), line.end(), [](auto field) {
           return number_in(field) || has_thousands_separators(field);
         });
}

std::string listed(std::span<const std::string_view> fields) {
  constexpr std::size_t most = 8;
  std::string text;
  for (const std::string_view field : fields.first(std::min(most, fields.size())))
    text += (text.empty() ? "" : ", ") + in_quotes(field);
  return fields.size() > most ? text + ", ..." : text;
}

}  // namespace programs::movielens
