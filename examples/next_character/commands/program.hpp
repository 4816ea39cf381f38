// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace programs::next_character {

/// \brief The program `next_character`.
/// \return its exit code: 0 if all went well, 2 for bad options or data, with one line on
///         console.err, 1 for anything unforeseen
int run(int argc, const char* const* argv, const Console& console);

}  // namespace programs::next_character
