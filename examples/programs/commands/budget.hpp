// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace CLI {
class App;
}

namespace programs {

/// The sub-command `budget`: what so many trials of a search reach.
void add_budget(CLI::App& program, const Console& console);

}  // namespace programs
