// SPDX-License-Identifier: MIT
#include <movielens/data/titles.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <movielens/base/file_error.hpp>
#include <movielens/data/line_reader.hpp>
#include <movielens/data/row_splitter.hpp>

namespace movielens {
namespace {

/// Number of bytes of the character that starts the text; 0 if it is not one of UTF-8. Over-long
/// forms, surrogates and values beyond U+10FFFF are not.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i)
      if ((byte(i) & 0xC0U) != 0x80U) return false;
    return true;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80U) return 1;
  if (lead >= 0xC2U && lead <= 0xDFU && continues(1, 2)) return 2;
  if ((lead & 0xF0U) == 0xE0U && continues(1, 3)) {
    const unsigned code = ((lead & 0x0FU) << 12U) | ((byte(1) & 0x3FU) << 6U) | (byte(2) & 0x3FU);
    return code >= 0x800U && !(code >= 0xD800U && code <= 0xDFFFU) ? 3 : 0;
  }
  if (lead >= 0xF0U && lead <= 0xF4U && continues(1, 4)) {
    const unsigned top = ((lead & 0x07U) << 6U) | (byte(1) & 0x3FU);  // code >> 12
    return top >= 0x10U && top <= 0x10FU ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::string to_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string result;
  result.reserve(2 * text.size());
  for (const char c : text) {
    const unsigned code = static_cast<unsigned char>(c);
    if (code < 0x80U) {
      result += c;
    } else {
      result += static_cast<char>(0xC0U | (code >> 6U));
      result += static_cast<char>(0x80U | (code & 0x3FU));
    }
  }
  return result;
}

Titles read_titles(const std::filesystem::path& path) {
  const auto directory = std::filesystem::is_directory(path) ? path : path.parent_path();
  for (const char* name : {"movies.csv", "movies.dat", "u.item"}) {
    const std::filesystem::path file = directory / name;
    if (!std::filesystem::exists(file)) continue;
    Titles titles;
    LineReader reader(file);
    std::optional<RowSplitter> splitter;
    while (reader.next()) {
      if (reader.line().empty()) continue;
      const bool is_first = !splitter;
      if (is_first) splitter = RowSplitter::for_first_line(reader.line());
      const auto fields = splitter->split(reader.line());
      if (fields.size() < 2)
        throw FileError(file, reader.number(), "1 column, expected at least 2: item, title");
      if (is_first && fields[1] == "title") continue;
      titles.insert_or_assign(std::string(fields[0]), to_utf8(fields[1]));
    }
    return titles;
  }
  return {};
}

}  // namespace movielens
