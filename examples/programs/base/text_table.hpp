// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace programs {

/// printf into a string; longer than 511 characters it is cut.
[[nodiscard, gnu::format(printf, 1, 2)]] std::string formatted(const char* format, ...);

/// \brief Lines of cells, all of the same length; the first is the head.
using Cells = std::vector<std::vector<std::string>>;

/// \brief A table for a terminal.
/// \param words  so many columns go to the left; the others are numbers and go to the right
[[nodiscard]] std::string text_table(const Cells& cells, std::size_t words);
/// The same in Markdown.
[[nodiscard]] std::string markdown_table(const Cells& cells, std::size_t words);

/// "40 s", "3 min", "2 h 5 min".
[[nodiscard]] std::string duration(double seconds);

}  // namespace programs
