// SPDX-License-Identifier: MIT
#include <programs/commands/command_line.hpp>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <ostream>
#include <set>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <variant>
#include <vector>

#include <CLI/CLI.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/nearest.hpp>

namespace programs {
namespace {

constexpr int longest_list = 32;

template <class T>
CLI::Option* add_any_list(CLI::App& command, const char* flag, std::vector<T>& values,
                          const char* type, const char* help) {
  return command.add_option(flag, values, help)
      ->type_name(type)
      ->delimiter(',')
      ->capture_default_str()
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
      ->check(what_is_empty);
}

/// What is wrong with a number; empty if nothing. It is made one in decimal, "7" of "007".
std::string what_is_not_whole(std::string& number) {
  if (number.empty()) return what_is_empty(number);
  const std::size_t first = number.find_first_not_of("+-") == 0 ? 0 : 1;
  if (first == number.size() || number.find_first_not_of("0123456789", first) != std::string::npos)
    return "is " + in_quotes(number) + ", expected a whole number";
  number.erase(first, std::min(number.find_first_not_of('0', first), number.size() - 1) - first);
  std::int64_t value = 0;  // of a number beyond 64 bits parsers take the last of them
  const char* const end = number.data() + number.size();
  const auto [rest, error] = std::from_chars(number.data() + (number[0] == '+'), end, value);
  return error == std::errc()
             ? ""
             : "is " + number + ", expected " + nearest_bound<std::int64_t>(number);
}

std::string what_is_no_number(const std::string& number) {
  if (number.empty()) return what_is_empty(number);
  char* end = nullptr;
  std::strtod(number.c_str(), &end);
  return *end == '\0' ? "" : "is " + in_quotes(number) + ", expected a number";
}

}  // namespace

void tell_unheeded(const CLI::App& command, const std::vector<OptionTable>& trainings,
                   const OptionTable& plain, const Console& console) {
  if (trainings.empty()) return;
  for (const Option& option : trainings.front().options()) {
    const CLI::Option* given = command.get_option_no_throw(option.flag());
    if (given == nullptr || given->count() == 0) continue;
    if (value_of(option) == value_of(plain[option.name])) continue;
    const bool is_heeded =
        std::any_of(trainings.begin(), trainings.end(), [&](const OptionTable& table) {
          const Option& there = table[option.name];
          return !there.matters || there.matters();
        });
    if (!is_heeded)
      console.err << "note: nothing that is trained heeds " << option.flag() << ": it is "
                  << option.help << std::endl;
  }
}

void read_numbers_as_written(CLI::App& program) {
  for (CLI::App* command : program.get_subcommands({}))
    for (CLI::Option* option : command->get_options()) {
      const std::string types = option->get_type_name();  // "X", "N,N"
      const std::string type = types.substr(0, types.find_first_of(",:["));
      if (type == "N") option->transform(CLI::Validator(what_is_not_whole, ""));
      if (type == "X") option->check(what_is_no_number);
    }
}

std::string what_is_empty(const std::string& value) {
  return value.empty() ? "is empty, expected a value" : "";
}

CLI::Option* add_option(CLI::App& command, const Option& option) {
  CLI::Option* added = std::visit(
      [&](auto* place) {
        using T = std::remove_pointer_t<decltype(place)>;
        if constexpr (std::same_as<T, bool>) {
          return command.add_flag(option.flag(), *place, option.help);
        } else {
          return command.add_option(option.flag(), *place, option.help)
              ->type_name(option.type)
              ->capture_default_str()
              ->check(what_is_empty);
        }
      },
      option.place);
  if (option.is_list()) {
    const auto length = static_cast<int>(option.length);
    added->delimiter(',')
        ->expected(length > 0 ? length : 1, length > 0 ? length : longest_list)
        ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  }
  if (!option.choices.empty()) added->check(one_of(option.choices));
  if (option.use == Option::Use::required) added->required();
  return added;
}

CLI::Option* add_list(CLI::App& command, const char* flag, std::vector<std::string>& values,
                      const char* type, const char* help) {
  return add_any_list(command, flag, values, type, help);
}

CLI::Option* add_list(CLI::App& command, const char* flag, std::vector<std::int64_t>& values,
                      const char* type, const char* help) {
  return add_any_list(command, flag, values, type, help);
}

void add_model_file(CLI::App& command, std::string& file) {
  command.add_option("--model", file, "model.safetensors of a training")
      ->type_name("FILE")
      ->required()
      ->check(what_is_empty);
}

void add_options(CLI::App& command, const OptionTable& table) {
  for (const Option& option : table.options())
    if (option.use != Option::Use::where_named) add_option(command, option);
}

void add_options(CLI::App& command, const OptionTable& table,
                 const std::vector<std::string>& names) {
  for (const std::string& name : names) add_option(command, table[name]);
}

CLI::Validator one_of(const std::vector<std::string>& names,
                      const std::function<bool(const std::string& value)>& or_else) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ",") + name;
  return CLI::Validator(
      [names, list, or_else](std::string& value) {
        if (std::find(names.begin(), names.end(), value) != names.end()) return std::string();
        if (or_else && or_else(value)) return std::string();
        return in_quotes(value) + " is none of " + list + suggestion(value, names);
      },
      "{" + list + "}");
}

void expect_at_least(const char* flag, std::int64_t value, std::int64_t least) {
  if (value < least)
    throw std::invalid_argument(std::string(flag) + " is " + std::to_string(value) +
                                ", expected at least " + std::to_string(least));
}

void expect_at_most(const char* flag, std::int64_t value, std::int64_t most,
                    const std::string& why) {
  if (value > most)
    throw std::invalid_argument(std::string(flag) + " is " + std::to_string(value) +
                                ", expected at most " + std::to_string(most) + why);
}

void expect_once(const char* flag, const std::vector<std::string>& items) {
  std::set<std::string> seen;
  for (const std::string& item : items)
    if (!seen.insert(item).second)
      throw std::invalid_argument(std::string(flag) + " names " + item + " twice");
}

void expect_once(const char* flag, const std::vector<std::int64_t>& items) {
  std::vector<std::string> texts;
  for (const std::int64_t item : items) texts.push_back(std::to_string(item));
  expect_once(flag, texts);
}

void refuse_twice(const CLI::App& command, const Json& said, const std::string& file) {
  for (const CLI::Option* given : command.get_options()) {
    std::string name = given->get_single_name();
    std::replace(name.begin(), name.end(), '-', '_');
    if (given->count() > 0 && said.contains(name))
      throw std::invalid_argument("--" + given->get_single_name() + " is given, and " + file +
                                  " says it, too");
  }
}

}  // namespace programs
