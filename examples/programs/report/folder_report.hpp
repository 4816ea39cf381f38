// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <programs/base/console.hpp>
#include <programs/report/report_page.hpp>

namespace programs {

/// \brief Draws what a training, a comparison or a search wrote to a folder, makes a page of it
/// (report.html), and prints the names of the files.
/// \param out  where they go; empty for FOLDER/report
/// \throws FileError if there is nothing to draw, or what is there is damaged
void report_folder(const std::filesystem::path& folder, const std::string& out,
                   const ReportWords& words, const Console& console);

}  // namespace programs
