// SPDX-License-Identifier: MIT
#include <movielens/data/row_splitter.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace movielens {
namespace {

std::string_view trimmed(std::string_view field) {
  const std::size_t first = field.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return field.substr(first, field.find_last_not_of(' ') - first + 1);
}

}  // namespace

RowSplitter RowSplitter::for_first_line(std::string_view line) {
  // A quoted first field may hold any character: the separator follows it.
  const std::size_t from = line.starts_with('"') ? std::min(line.find('"', 1), line.size()) : 0;
  std::string_view separator = ",";
  std::size_t place = line.find(separator, from);
  for (const std::string_view candidate : std::array<std::string_view, 4>{"::", "\t", "|", ";"}) {
    const std::size_t found = line.find(candidate, from);
    if (found < place) {
      separator = candidate;
      place = found;
    }
  }
  return RowSplitter(separator);
}

std::span<const std::string_view> RowSplitter::split(std::string_view line) {
  fields_.clear();
  if ((separator_ == "," || separator_ == ";") && line.find('"') != std::string_view::npos) {
    split_quoted(line);
    return fields_;
  }
  while (true) {
    const std::size_t end = line.find(separator_);
    fields_.push_back(trimmed(line.substr(0, end)));
    if (end == std::string_view::npos) return fields_;
    line.remove_prefix(end + separator_.size());
  }
}

void RowSplitter::split_quoted(std::string_view line) {
  // The fields without their quotes go one after the other into unquoted_. It never outgrows the
  // line, so the views into it stay valid.
  unquoted_.clear();
  unquoted_.reserve(line.size());
  std::size_t field_begin = 0;
  bool inside = false;
  const auto end_field = [&] {
    fields_.push_back(trimmed(std::string_view(unquoted_).substr(field_begin)));
    field_begin = unquoted_.size();
  };
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      const bool doubled = inside && i + 1 < line.size() && line[i + 1] == '"';
      if (doubled)
        unquoted_ += line[++i];
      else
        inside = !inside;
    } else if (line[i] == separator_.front() && !inside) {
      end_field();
    } else {
      unquoted_ += line[i];
    }
  }
  end_field();
}

}  // namespace movielens
