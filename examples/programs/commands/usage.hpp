// SPDX-License-Identifier: MIT
#pragma once

#include <span>
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

/// \brief Of lists, "1,2": in which there is nothing where an item is expected, as in "1,". The
/// parser leaves such items out without a word. Empty if nothing is wrong.
/// \param arguments  without the program's name
[[nodiscard]] std::string what_lacks_an_item(const CLI::App& program,
                                             std::span<const char* const> arguments);

}  // namespace programs
