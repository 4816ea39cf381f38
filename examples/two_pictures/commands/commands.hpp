// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace CLI {
class App;
}

/// \file
/// \brief The sub-commands, one file each. A command registers its options; parsing runs it.

namespace programs::two_pictures {

void add_train(CLI::App& program, const Console& console);
void add_compare(CLI::App& program, const Console& console);
void add_tune(CLI::App& program, const Console& console);
void add_evaluate(CLI::App& program, const Console& console);
void add_show(CLI::App& program, const Console& console);
void add_report(CLI::App& program, const Console& console);
void add_synthesize(CLI::App& program, const Console& console);

}  // namespace programs::two_pictures
