// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace CLI {
class App;
}

/// \file
/// \brief The sub-commands that want LibTorch, one file each.

namespace programs::bert {

void add_finetune(CLI::App& program, const Console& console);
void add_moefy(CLI::App& program, const Console& console);
void add_distil(CLI::App& program, const Console& console);
void add_evaluate(CLI::App& program, const Console& console);
void add_compare(CLI::App& program, const Console& console);
void add_tune(CLI::App& program, const Console& console);
void add_report(CLI::App& program, const Console& console);

}  // namespace programs::bert
