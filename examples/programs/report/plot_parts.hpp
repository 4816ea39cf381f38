// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include <programs/base/json.hpp>
#include <programs/base/text_table.hpp>

/// \file
/// \brief What pictures have in common.

namespace programs {

// Told apart by the colour-blind as well (Okabe and Ito, Color Universal Design, 2008).
inline constexpr const char* blue = "#0072B2";
inline constexpr const char* red = "#D55E00";
inline constexpr const char* green = "#009E73";
inline constexpr const char* grey = "#999999";
inline constexpr const char* plot_colours[] = {blue, red, green, "#CC79A7", "#E69F00"};

/// A number in a table of data; gnuplot leaves out what is none.
[[nodiscard]] inline std::string cell(double value) {
  return std::isfinite(value) ? formatted("%.9g", value) : "-";
}
/// JSON has null for nan and infinity.
[[nodiscard]] inline std::string cell(const Json& value) {
  return value.is_null() ? "-" : cell(value.get<double>());
}

/// An axis of whole numbers from 1 with a mark at each, or at some.
[[nodiscard]] inline std::string epoch_axis(const std::string& unit, std::size_t epochs,
                                            double margin) {
  return "set xlabel '" + unit + "'\n" +
         formatted("set xrange [%g:%g]\nset xtics %d\n", 1 - margin,
                   static_cast<double>(epochs) + margin,
                   std::max(1, static_cast<int>(epochs) / 10));
}

}  // namespace programs
