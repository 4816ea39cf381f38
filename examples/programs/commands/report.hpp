// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <programs/base/console.hpp>
#include <programs/report/folder_report.hpp>

namespace CLI {
class App;
}

namespace programs {

/// \brief The sub-command `report`. \param words  how the program speaks of what it trains
/// \param what  the pictures that there are, for the help
void add_report(CLI::App& program, const Console& console, const ReportWords& words,
                const std::string& what);

}  // namespace programs
