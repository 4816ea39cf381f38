// SPDX-License-Identifier: MIT
#include <movielens/data/row_splitter.hpp>

#include <algorithm>
#include <array>

#include <movielens/data/numbers.hpp>

namespace programs::movielens {
namespace {

constexpr std::string_view blanks = " \t";
constexpr std::string_view run_of_blanks = " ";
constexpr std::size_t fewest_fields = 3;  // of a row with a rating

/// Are the commas of a line those of decimal numbers, if this is what separates?
bool leaves_decimals(std::string_view line, std::string_view separator) {
  if (line.find(separator) == std::string_view::npos) return false;
  RowSplitter splitter(separator);
  const auto fields = splitter.split(line);
  return fields.size() >= fewest_fields &&
         std::all_of(fields.begin(), fields.end(), [](std::string_view field) {
           return field.find(',') == std::string_view::npos || number_in(field);
         });
}

/// The separator that comes first, if any.
std::string_view first_separator(std::string_view line) {
  // A quoted first field may hold any character: the separator follows it.
  const std::size_t from = line.starts_with('"') ? std::min(line.find('"', 1), line.size()) : 0;
  std::string_view separator;
  std::size_t place = std::string_view::npos;
  static constexpr std::array<std::string_view, 5> candidates = {"::", "\t", "|", ";", ","};
  for (const std::string_view candidate : candidates)
    if (const std::size_t found = line.find(candidate, from); found < place) {
      separator = candidate;
      place = found;
    }
  if (separator == ",")
    for (const std::string_view candidate : candidates)
      if (candidate != "," && leaves_decimals(line, candidate)) return candidate;
  return separator;
}

std::size_t fields_in(std::string_view line, std::string_view separator) {
  RowSplitter splitter(separator);
  const auto fields = splitter.split(line);
  const bool has_gap = std::any_of(fields.begin(), fields.end(), [&](const auto& field) {
    return field.empty() && &field != &fields.back() && &field != &fields.front();
  });
  return has_gap ? 0 : fields.size();
}

}  // namespace

RowSplitter::RowSplitter(std::string_view separator)
    : separator_(separator), by_blanks_(separator == run_of_blanks) {}

RowSplitter RowSplitter::for_first_line(std::string_view line) {
  const std::string_view separator = first_separator(line);
  return RowSplitter(separator.empty() ? "," : separator);
}

RowSplitter RowSplitter::for_ratings(std::string_view first_line) {
  const std::string_view separator = first_separator(first_line);
  const bool by_blanks = separator.empty() ||
                         (separator == "," && leaves_decimals(first_line, run_of_blanks)) ||
                         (separator == "\t" && fields_in(first_line, separator) < fewest_fields);
  if (by_blanks && fields_in(first_line, run_of_blanks) >= fewest_fields)
    return RowSplitter(run_of_blanks);
  return RowSplitter(separator.empty() ? "," : separator);
}

std::span<const std::string_view> RowSplitter::split(std::string_view line) {
  fields_.clear();
  is_open_ = false;
  if (by_blanks_) line = trimmed(line);
  if (line.find('"') != std::string_view::npos) {
    split_quoted(line);
    return fields_;
  }
  if (separator_.size() == 1 && !by_blanks_) {
    split_at(separator_.front(), line);
    return fields_;
  }
  while (true) {
    const std::size_t end = end_of_field(line);
    fields_.push_back(trimmed(line.substr(0, end)));
    if (end == line.size()) return fields_;
    line = behind_separator(line.substr(end));
  }
}

/// The usual case, for speed.
void RowSplitter::split_at(char separator, std::string_view line) {
  while (true) {
    const std::size_t end = line.find(separator);
    fields_.push_back(trimmed(line.substr(0, end)));
    if (end == std::string_view::npos) return;
    line.remove_prefix(end + 1);
  }
}

void RowSplitter::split_quoted(std::string_view line) {
  // The fields without their quotes go one after the other into unquoted_. It never outgrows the
  // line, so the views into it stay valid.
  unquoted_.clear();
  unquoted_.reserve(line.size());
  while (true) {
    if (separator_ != "\t")
      line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    std::size_t end = line.starts_with('"') ? end_of_quotes(line) : 0;
    if (end > 0) {
      is_open_ = end == line.size();
      fields_.push_back(trimmed(unquoted(line.substr(1, end - 1))));
      end = std::min(end + 1, line.size());
      end += end_of_field(line.substr(end));
    } else {
      end = end_of_field(line);
      fields_.push_back(trimmed(line.substr(0, end)));
    }
    if (end == line.size()) return;
    line = behind_separator(line.substr(end));
  }
}

/// Place of the separator, or the size.
std::size_t RowSplitter::end_of_field(std::string_view text) const {
  const std::size_t end = by_blanks_ ? text.find_first_of(blanks) : text.find(separator_);
  return std::min(end, text.size());
}

std::string_view RowSplitter::behind_separator(std::string_view text) const {
  if (by_blanks_) return text.substr(text.find_first_not_of(blanks));
  return text.substr(separator_.size());
}

/// Place of the quote that ends the field which the first one begins; the size if the field goes on
/// to the end, and 0 if it is no quoted field.
std::size_t RowSplitter::end_of_quotes(std::string_view text) const {
  bool has_others = false;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] != '"') continue;
    has_others = true;
    if (text.substr(i + 1).starts_with('"')) {
      ++i;
      continue;
    }
    std::string_view rest = text.substr(i + 1);
    if (!by_blanks_ && separator_ != "\t")
      rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
    if (end_of_field(rest) == 0) return i;
  }
  if (has_others || (separator_ != "," && separator_ != ";")) return 0;
  return text.size();
}

/// The content of quotes, with one for each two.
std::string_view RowSplitter::unquoted(std::string_view text) {
  const std::size_t begin = unquoted_.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    unquoted_ += text[i];
    if (text.substr(i).starts_with("\"\"")) ++i;
  }
  return std::string_view(unquoted_).substr(begin);
}

}  // namespace programs::movielens
