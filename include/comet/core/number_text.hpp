// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <string>
#include <type_traits>

namespace comet::detail {

/// \brief A number as a program reads it, whatever the locale: streams may put points between
/// thousands and a comma before decimals.
/// \param format  as std::to_chars has it; without one, the shortest text that reads back as the
///        same number
template <class T, class... Format>
requires std::is_arithmetic_v<T>
[[nodiscard]] std::string number_text(T value, Format... format) {
  std::array<char, 512> text;  // the largest double in full has 309 digits before its point
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, format...);
  return {text.data(), end.ptr};
}

}  // namespace comet::detail
