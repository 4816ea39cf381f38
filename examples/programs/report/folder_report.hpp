// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <programs/base/console.hpp>
#include <programs/report/plots.hpp>

namespace programs {

/// \brief Draws what a training or a search wrote to a folder, and prints the names of the files.
/// \param out  where the pictures go; empty for FOLDER/report
/// \throws FileError if there is nothing to draw, or what is there is damaged
void report_folder(const std::filesystem::path& folder, const std::string& out,
                   const PlotWords& words, const Console& console);

}  // namespace programs
