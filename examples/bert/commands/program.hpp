// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/console.hpp>

namespace programs::bert {

/// \brief The program `bert`.
/// \return its exit code: 0 if all went well, 2 for bad options or data, with one line on
///         console.err, 1 for anything unforeseen
int run(int argc, const char* const* argv, const Console& console);

}  // namespace programs::bert
