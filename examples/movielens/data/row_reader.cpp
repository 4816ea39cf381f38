// SPDX-License-Identifier: MIT
#include <movielens/data/row_reader.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>

#include <movielens/data/columns.hpp>
#include <movielens/data/header.hpp>
#include <movielens/data/line_reader.hpp>
#include <movielens/data/numbers.hpp>
#include <movielens/data/row_splitter.hpp>
#include <programs/base/file_error.hpp>

namespace programs::movielens {
namespace {

/// Spreadsheets may begin with a line "sep=;".
std::optional<RowSplitter> stated_splitter(std::string_view line) {
  constexpr std::string_view words = "sep=";
  if (line.size() != words.size() + 1 || !equal_without_case(line.substr(0, 4), words)) return {};
  for (const std::string_view separator : {",", ";", "\t", "|"})
    if (line.substr(4) == separator) return RowSplitter(separator);
  return {};
}

/// Nothing, or separators with nothing between them.
bool is_empty_row(std::string_view line) {
  return line.find_first_not_of(" \t,;|\"") == std::string_view::npos;
}

/// What programs write where there is nothing.
bool stands_for_nothing(std::string_view text) {
  constexpr std::string_view words[] = {"",     "na",  "n/a", "nan", "null", "none",
                                        "<na>", "\\n", "-",   ".",   "?"};
  return std::any_of(std::begin(words), std::end(words),
                     [&](std::string_view word) { return equal_without_case(text, word); });
}

/// The numbers that often stand for a rating that is not there.
bool often_stands_for_nothing(float number) {
  return number == 0 || number == -1 || number == 99 || number == -99 || number == 999 ||
         number == -999 || number == 9999;
}

}  // namespace

RowReader::RowReader(const std::filesystem::path& file, const TableOptions& options)
    : file_(file),
      options_(options),
      not_rated_(options.not_rated ? number_in(*options.not_rated) : std::nullopt) {}

void RowReader::read() {
  LineReader reader(file_);
  std::optional<RowSplitter> splitter;
  bool is_first = true;
  while (reader.next()) {
    if (is_empty_row(reader.line())) continue;
    line_ = reader.number();
    if (!splitter) {
      splitter = stated_splitter(reader.line());
      if (splitter) continue;
      splitter = RowSplitter::for_ratings(reader.line());
    }
    const auto fields = splitter->split(reader.line());
    if (splitter->is_open()) refuse("a quoted field without its end");
    if (is_first) begin_table(fields);
    if (!is_first || !table_.has_header) add_row(fields);
    is_first = false;
  }
}

void RowReader::begin_table(Fields fields) {
  table_ = RatingTable::of(fields, options_, file_, line_);
  if (table_.has_header) header_.assign(fields.begin(), fields.end());
  if (!table_.note.empty())
    notes.push_back(file_.string() + ":" + std::to_string(line_) + ": " + table_.note);
}

void RowReader::add_row(Fields fields) {
  std::size_t width = fields.size();
  while (width > table_.most_columns && fields[width - 1].empty()) --width;
  if (width < table_.num_columns || width > table_.most_columns) {
    if (take_header(fields)) return;
    refuse_width(fields.first(width));
  }
  if (table_.rows == RatingTable::Rows::users)
    add_user(fields.first(width));
  else
    add_rating(fields);
}

void RowReader::add_rating(Fields fields) {
  const std::string_view text = fields[table_.rating];
  const std::optional<float> number = number_in(text);
  if (!number && take_header(fields)) return;
  if (fields[table_.user].empty()) refuse("the user is empty");
  if (fields[table_.item].empty()) refuse("the item is empty");
  if (is_not_rated(text, number)) {
    ++left_out_;
    return;
  }
  const float stars = stars_in(text, number);
  rows.push_back({users.number_of(fields[table_.user]), items.number_of(fields[table_.item]), stars,
                  static_cast<std::uint32_t>(line_)});
}

void RowReader::add_user(Fields fields) {
  const std::int32_t user = users.number_of(std::to_string(++num_users_));
  std::size_t rated = 0;
  for (std::size_t i = 1; i < fields.size(); ++i) {
    const std::optional<float> number = number_in(fields[i]);
    if (number == jester_not_rated || is_not_rated(fields[i], number)) continue;
    const float stars = stars_in(fields[i], number);
    rows.push_back(
        {user, items.number_of(std::to_string(i)), stars, static_cast<std::uint32_t>(line_)});
    ++rated;
  }
  if (number_in(fields[0]) != static_cast<float>(rated))
    refuse("the row has " + counted(rated, "rating") + ", and says " + in_quotes(fields[0]) +
           "; if it is no row of Jester, --columns USER,ITEM,RATING says what is where");
}

/// Is it a header, further down? Then what follows is read by it.
bool RowReader::take_header(Fields fields) {
  if (!header_.empty() &&
      std::equal(fields.begin(), fields.end(), header_.begin(), header_.end(),
                 [](std::string_view a, std::string_view b) { return equal_without_case(a, b); }))
    return true;
  if (have_names(options_.columns)) {
    if (!are_named_in(options_.columns, fields)) return false;
  } else if (!names_ratings(fields)) {
    return false;
  }
  if (!options_.columns.empty() && !have_names(options_.columns)) {
    if (column_of(Role::user, fields) == table_.user &&
        column_of(Role::item, fields) == table_.item &&
        column_of(Role::rating, fields) == table_.rating)
      return true;
    refuse("a header with other columns than those of --columns: " + listed(fields));
  }
  begin_table(fields);
  return true;
}

bool RowReader::is_not_rated(std::string_view text, std::optional<float> number) const {
  if (table_.zero_is_implicit && number == 0.0F) return true;
  if (!options_.not_rated) return false;
  return text == *options_.not_rated || (number && number == not_rated_);
}

float RowReader::stars_in(std::string_view text, std::optional<float> number) const {
  if (!number || !(*number >= table_.lowest && *number <= table_.highest))
    refuse_rating(text, number);
  if (table_.takes_all() && is_ambiguous_number(text))
    refuse("the rating is " + in_quotes(text) +
           ", which may be a decimal or thousands: write it without the comma");
  return *number;
}

void RowReader::refuse_rating(std::string_view text, std::optional<float> number) const {
  std::string reason = "the rating is " + in_quotes(text) + ", expected ";
  if (table_.takes_all())
    reason += "a finite number";
  else
    reason += "a number from " + shown(table_.lowest) + " to " + shown(table_.highest);
  if (has_thousands_separators(text) && !number)
    reason += " without thousands separators";
  else if (stands_for_nothing(text) || (number && often_stands_for_nothing(*number)))
    reason +=
        "; if it means \"not rated\": --not-rated " + (text.empty() ? "\"\"" : printable(text));
  else if (number && std::isfinite(*number) && options_.columns.empty())
    reason += "; --columns USER,ITEM,RATING reads tables of other columns and scales";
  refuse(reason);
}

void RowReader::refuse_width(Fields fields) const {
  std::string reason = counted(fields.size(), "column") + ", expected " +
                       std::to_string(table_.num_columns) + ": " + table_.column_names;
  if (fields.size() + 1 == 2 * table_.num_columns)
    reason += " (two rows in one line: files joined without an end of line?)";
  refuse(reason);
}

void RowReader::refuse(const std::string& reason) const { throw FileError(file_, line_, reason); }

}  // namespace programs::movielens
