// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <programs/base/console.hpp>
#include <programs/base/option.hpp>

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace programs {

/// \brief Registers the options of a table that every command has which trains. Only their places
/// have to outlive the command.
void add_options(CLI::App& command, const OptionTable& table);
/// Registers those that are named.
void add_options(CLI::App& command, const OptionTable& table,
                 const std::vector<std::string>& names);
/// Registers one.
CLI::Option* add_option(CLI::App& command, const Option& option);

/// \name Registers a list that is no option of a training: given once, its items between commas.
/// \{
CLI::Option* add_list(CLI::App& command, const char* flag, std::vector<std::string>& values,
                      const char* type, const char* help);
CLI::Option* add_list(CLI::App& command, const char* flag, std::vector<std::int64_t>& values,
                      const char* type, const char* help);
/// \}

/// Registers --model, the file that a training has left; one has to be given.
void add_model_file(CLI::App& command, std::string& file);

/// Of an option that is one of some names: another one is refused, with the one that may have been
/// meant.
/// \param or_else  takes others
[[nodiscard]] CLI::Validator one_of(
    const std::vector<std::string>& names,
    const std::function<bool(const std::string& value)>& or_else = {});

/// \brief Checks an option that only one command has. \throws std::invalid_argument naming it
void expect_at_least(const char* flag, std::int64_t value, std::int64_t least);
/// The same, of its upper bound. \param why  it is that, as the rest of a sentence; may be empty
void expect_at_most(const char* flag, std::int64_t value, std::int64_t most,
                    const std::string& why = {});

/// \brief Of a list whose items are worked on one after the other: what is named twice would be
/// done twice.
/// \throws std::invalid_argument naming the option and the item
void expect_once(const char* flag, const std::vector<std::string>& items);
void expect_once(const char* flag, const std::vector<std::int64_t>& items);

/// \brief Refuses an option that is given on the command line although a file says it, too.
/// \throws std::invalid_argument naming both
void refuse_twice(const CLI::App& command, const Json& said, const std::string& file);

/// \brief "at most 2147483647" or "at least -2147483648", of digits that are no Integer since they
/// are too many.
template <class Integer>
[[nodiscard]] std::string nearest_bound(std::string_view digits) {
  using Limits = std::numeric_limits<Integer>;
  return digits.starts_with('-') ? "at least " + std::to_string(Limits::min())
                                 : "at most " + std::to_string(Limits::max());
}

/// \brief Notes options that are given, other than they are by default, and that none of some
/// trainings heeds: they would be lost without a word.
/// \param trainings  the tables of their options
/// \param plain      the table of options as they are by default
void tell_unheeded(const CLI::App& command, const std::vector<OptionTable>& trainings,
                   const OptionTable& plain, const Console& console);

/// \brief Has numbers of all commands read as they are written: whole ones in decimal, where the
/// parser would make 8 of 010 and the last 64 bits of a longer one, and others to their ends, where it
/// may make 15 of 1,5 as of the parts of a long number. Before anything is parsed.
void read_numbers_as_written(CLI::App& program);

/// What is wrong with a value that is nothing, which the parser takes without a word.
[[nodiscard]] std::string what_is_empty(const std::string& value);

}  // namespace programs
