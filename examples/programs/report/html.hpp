// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <programs/base/text_table.hpp>

/// \file
/// \brief Pages for a browser that are complete in themselves: no network, no script.

namespace programs {

/// \brief Text as it stands in a page, between tags or in quotes. What is no UTF-8 is read as
/// Windows-1252; a blank takes the place of control characters, but for the end of a line.
[[nodiscard]] std::string escaped(std::string_view text);

/// \brief A whole page.
/// \param title  a text, not yet escaped
/// \param style  rules of CSS beside those that all pages have
/// \param body   HTML
[[nodiscard]] std::string html_page(std::string_view title, std::string_view style,
                                    std::string_view body);

/// \brief A table that scrolls by itself where it is too wide. Cells are texts, not yet escaped.
/// \param words      so many columns go to the left; the others are numbers and go to the right
/// \param is_marked  whether a line, the head being 0, is set apart
[[nodiscard]] std::string html_table(const Cells& cells, std::size_t words,
                                     const std::function<bool(std::size_t)>& is_marked = {});

/// \brief From white to blue, as CSS has it. \param share  in [0, 1]
[[nodiscard]] std::string colour_of(double share);
/// Whether letters on it are to be white.
[[nodiscard]] bool is_dark(double share);

/// \brief A matrix as a table of colours, with the numbers as per cent in it.
/// \param rows   of shares in [0, 1], all of the same length; nan is shown as nothing
/// \param across, down  what columns and rows count
/// \param columns       the number of each column
[[nodiscard]] std::string html_heat_map(const std::vector<std::vector<double>>& rows,
                                        std::string_view down, std::string_view across,
                                        const std::vector<std::string>& columns);

/// \brief A picture.
/// \param svg    a whole file of SVG
/// \param title  in words, for narrow screens and for who cannot see it
[[nodiscard]] std::string html_picture(std::string_view svg, std::string_view title);

}  // namespace programs
