// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <programs/base/console.hpp>

namespace programs {

/// The text as a string of gnuplot.
[[nodiscard]] std::string gnuplot_string(const std::string& text);

/// \brief A picture: its data, and what gnuplot is to make of them.
struct Plot {
  std::string name;      ///< of the files, without ending
  std::string data;      ///< of NAME.tsv
  std::string commands;  ///< of gnuplot, from the settings to the plot; the data are in NAME.tsv
  int width = 900;
  int height = 560;
  std::string title = {};  ///< in words
  /// The data have no head: a line per expert, a column per epoch.
  bool is_heat_map = false;
};

/// \brief Writes NAME.tsv and NAME.gp for every plot and has gnuplot make NAME.png and NAME.svg. If
/// there is no gnuplot, it says so in one sentence; the other files are there.
/// \param directory  is there already
/// \return for every plot whether its picture was drawn
/// \throws FileError if a file cannot be written
std::vector<bool> draw(const std::vector<Plot>& plots, const std::filesystem::path& directory,
                       const Console& console);

}  // namespace programs
