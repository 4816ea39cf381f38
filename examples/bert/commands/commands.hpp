// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace CLI {
class App;
}

/// \file
/// \brief The sub-commands, one file each. A command registers its options; parsing runs it.

namespace programs::bert {

void add_tokens(CLI::App& program, const Console& console);
void add_synthesize(CLI::App& program, const Console& console);

/// \brief Those that train and run models, which are LibTorch's: all of them where LibTorch was
/// found (`model_commands/`), none where it was not (`without_torch/`).
void add_model_commands(CLI::App& program, const Console& console);

}  // namespace programs::bert
