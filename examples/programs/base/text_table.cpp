// SPDX-License-Identifier: MIT
#include <programs/base/text_table.hpp>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace programs {
namespace {

std::string table(const Cells& cells, std::size_t words, const char* begin, const char* between,
                  const char* end, bool ruled) {
  std::vector<std::size_t> width(cells.front().size(), 0);
  for (const auto& line : cells)
    for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& line) {
    text += begin;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string padding(width[i] - line[i].size(), ' ');
      text += i < words ? line[i] + padding : padding + line[i];
      text += i + 1 < line.size() ? between : end;
    }
    text += '\n';
  };
  for (std::size_t l = 0; l < cells.size(); ++l) {
    add_line(cells[l]);
    if (l > 0 || !ruled) continue;
    std::vector<std::string> rule;
    for (const std::size_t w : width) rule.emplace_back(w, '-');
    add_line(rule);
  }
  return text;
}

}  // namespace

std::string formatted(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

std::string text_table(const Cells& cells, std::size_t words) {
  return table(cells, words, "", "  ", "", false);
}

std::string markdown_table(const Cells& cells, std::size_t words) {
  return table(cells, words, "| ", " | ", " |", true);
}

std::string duration(double seconds) {
  const auto whole = static_cast<long>(std::lround(seconds));
  if (whole < 60) return formatted("%ld s", whole);
  const long minutes = (whole + 30) / 60;
  if (minutes < 60) return formatted("%ld min", minutes);
  return formatted("%ld h %ld min", minutes / 60, minutes % 60);
}

}  // namespace programs
