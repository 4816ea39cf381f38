// SPDX-License-Identifier: MIT
#include <movielens/data/numbers.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace programs::movielens {
namespace {

constexpr std::string_view digits = "0123456789";

template <class Number>
std::optional<Number> parsed(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view without_sign(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  return text;
}

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of(digits) == std::string_view::npos;
}

/// "1,234,567": one to three digits, then groups of three.
bool is_grouped(std::string_view text, std::string_view separator) {
  const std::size_t first = text.find(separator);
  if (first == std::string_view::npos || first > 3 || !is_digits(text.substr(0, first)) ||
      text.front() == '0')
    return false;
  for (text.remove_prefix(first); !text.empty(); text.remove_prefix(3)) {
    if (!text.starts_with(separator)) return false;
    text.remove_prefix(separator.size());
    if (text.size() < 3 || !is_digits(text.substr(0, 3))) return false;
  }
  return true;
}

}  // namespace

std::optional<float> number_in(std::string_view text) {
  if (const auto value = parsed<float>(text)) return value;
  if (text.starts_with('+') && text.find_first_of("+-", 1) != 1) text.remove_prefix(1);
  std::array<char, 64> with_point{};
  const std::size_t comma = text.find(',');
  if (text.size() <= with_point.size() && comma < text.size() &&
      is_digits(text.substr(comma + 1, 1)) && text.find('.') == std::string_view::npos) {
    std::copy(text.begin(), text.end(), with_point.begin());
    with_point[comma] = '.';
    text = {with_point.data(), text.size()};
  }
  if (const auto value = parsed<float>(text)) return value;
  // Too close to zero for a float is a number, too large for one is not.
  const auto value = parsed<double>(text);
  if (!value || std::abs(*value) > 1) return std::nullopt;
  return static_cast<float>(*value);
}

bool is_ambiguous_number(std::string_view text) {
  text = without_sign(text);
  return is_grouped(text, ",") && std::count(text.begin(), text.end(), ',') == 1;
}

bool has_thousands_separators(std::string_view text) {
  text = without_sign(text);
  static constexpr std::array<std::string_view, 7> separators = {",",      ".",      " ",     "'",
                                                                 "\u00A0", "\u202F", "\u2019"};
  for (const std::string_view separator : separators)
    for (const char point : {'.', ','}) {
      if (separator.front() == point) continue;
      const std::size_t decimals = text.find(point);
      const bool has_decimals = decimals != std::string_view::npos;
      if (has_decimals && !is_digits(text.substr(decimals + 1))) continue;
      if (is_grouped(text.substr(0, decimals), separator)) return true;
    }
  return false;
}

std::optional<std::string> whole_number_in(std::string_view text) {
  if (is_digits(text)) return std::string(text);
  if (text.starts_with('-') && text.size() > 1 && text[1] != '-') {
    const auto positive = whole_number_in(text.substr(1));
    return positive ? std::optional("-" + *positive) : std::nullopt;
  }
  if (is_grouped(text, ",")) {
    std::string number(text);
    std::erase(number, ',');
    return number;
  }
  const std::size_t end = std::min(text.find_first_not_of(digits), text.size());
  const std::string_view number = text.substr(0, end);
  std::string_view rest = text.substr(end);
  if (number.empty()) return std::nullopt;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    if (rest.empty() || rest.find_first_not_of('0') != std::string_view::npos) return std::nullopt;
    return std::string(number);
  }
  if (!rest.starts_with("e+") && !rest.starts_with("E+")) return std::nullopt;
  constexpr std::size_t most_zeros = 18;
  rest.remove_prefix(2);
  const auto zeros = is_digits(rest) ? parsed<std::size_t>(rest) : std::nullopt;
  if (!zeros || *zeros > most_zeros) return std::nullopt;
  return std::string(number).append(*zeros, '0');
}

std::string shown(float value) {
  std::array<char, 64> text{};
  char* const end = text.data() + text.size();
  const bool is_usual = std::abs(value) < 1e15F && (value == 0 || std::abs(value) > 1e-6F);
  const auto last = is_usual ? std::to_chars(text.data(), end, value, std::chars_format::fixed)
                             : std::to_chars(text.data(), end, value);
  return {text.data(), last.ptr};
}

std::string counted(std::size_t count, std::string_view noun) {
  return std::to_string(count) + ' ' + std::string(noun) + (count == 1 ? "" : "s");
}

}  // namespace programs::movielens
