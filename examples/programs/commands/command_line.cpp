// SPDX-License-Identifier: MIT
#include <programs/commands/command_line.hpp>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
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

/// The numbers of an option that is a list, or that may be left out.
template <class T>
struct Item {
  using Type = T;
};
template <class T>
struct Item<std::vector<T>> : Item<T> {};
template <class T>
struct Item<std::optional<T>> : Item<T> {};

/// What checks the values of an option, or the items of a list.
template <class T>
constexpr auto checked = std::integral<typename Item<T>::Type> ? what_is_too_far : what_is_empty;

template <class T>
CLI::Option* add_any_list(CLI::App& command, const char* flag, std::vector<T>& values,
                          const char* type, const char* help) {
  return command.add_option(flag, values, help)
      ->type_name(type)
      ->delimiter(',')
      ->capture_default_str()
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
      ->check(checked<T>);
}

/// "7" of "007"; what is no such number stays.
void drop_leading_zeros(std::string& number) {
  const std::size_t first = number.find_first_not_of(" \t\n\v\f\r+-");
  if (first == std::string::npos) return;
  if (number.find_first_not_of("0123456789", first) != std::string::npos) return;
  number.erase(first, std::min(number.find_first_not_of('0', first), number.size() - 1) - first);
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

void read_as_decimal(CLI::App& program) {
  const auto drop = [](std::string& value) {
    drop_leading_zeros(value);
    return std::string();
  };
  for (CLI::App* command : program.get_subcommands({}))
    for (CLI::Option* option : command->get_options())
      if (option->get_type_name().starts_with('N')) option->transform(CLI::Validator(drop, ""));
}

std::string what_is_empty(const std::string& value) {
  return value.empty() ? "is empty, expected a value" : "";
}

std::string what_is_too_far(const std::string& value) {
  std::int64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  if (rest == end && error == std::errc::result_out_of_range)
    return "is " + value + ", expected " + nearest_bound<std::int64_t>(value);
  return what_is_empty(value);
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
              ->check(checked<T>);
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
