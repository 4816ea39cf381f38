// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace programs {

/// \brief Lays out the help of a program and its commands: 80 columns, every default and every
/// choice beside its option. For commands that are added later.
void use_plain_help(CLI::App& program);

/// \brief What was wrong with the command line, in one line: an unknown command or option by name,
/// and the one that may have been meant.
[[nodiscard]] std::string what_was_wrong(const CLI::App& program, const CLI::ParseError& error);

}  // namespace programs
