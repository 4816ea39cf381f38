// SPDX-License-Identifier: MIT
#include <programs/base/option.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <programs/base/file_error.hpp>
#include <programs/base/nearest.hpp>
#include <programs/base/utf8.hpp>

namespace programs {
namespace {

[[noreturn]] void raise(const std::string& what) { throw std::invalid_argument(what); }

void read_value(const Json& value, std::integral auto& target, bool searchable) {
  using Integer = std::remove_cvref_t<decltype(target)>;
  if (!value.is_number_integer()) raise("is " + value.dump() + ", expected a whole number");
  // A larger one would wrap around; no option of a search space has any use for it.
  const auto most = searchable ? std::int64_t{1} << 30U
                               : static_cast<std::int64_t>(std::numeric_limits<Integer>::max());
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                        : value.get<std::int64_t>() <= most && value.get<std::int64_t>() >= -most;
  const std::string text = value.dump();
  if (!fits) raise("is " + text + ", expected a " + smaller_or_larger(text) + " number");
  value.get_to(target);
}

void read_value(const Json& value, bool& target, bool /*searchable*/) {
  if (!value.is_boolean()) raise("is " + value.dump() + ", expected true or false");
  value.get_to(target);
}

void read_value(const Json& value, double& target, bool /*searchable*/) {
  if (!value.is_number()) raise("is " + value.dump() + ", expected a number");
  value.get_to(target);
}

void read_value(const Json& value, std::string& target, bool /*searchable*/) {
  if (!value.is_string()) raise("is " + value.dump() + ", expected a name");
  value.get_to(target);
}

template <class T>
void read_value(const Json& value, std::optional<T>& target, bool searchable) {
  read_value(value, target.emplace(), searchable);
}

void read_name(const Json& value, std::string& target, const std::vector<std::string>& names) {
  read_value(value, target, false);
  if (!names.empty() && std::find(names.begin(), names.end(), target) == names.end())
    raise("is " + value.dump() + ", which is none of them" + suggestion(target, names));
}

template <class T>
void read_list(const Json& value, std::vector<T>& target, const Option& option) {
  if (!value.is_array() || (option.length > 0 && value.size() != option.length))
    raise("is " + value.dump() + ", expected a list" +
          (option.length > 0 ? " of " + std::to_string(option.length) + " numbers" : ""));
  target.resize(value.size());
  for (std::size_t i = 0; i < target.size(); ++i) {
    if constexpr (std::same_as<T, double>) {
      read_value(value[i], target[i], option.searchable);
    } else {
      read_name(value[i], target[i], option.choices);
    }
  }
}

void read_option(const Option& option, const Json& value) {
  std::visit(
      [&](auto* target) {
        using T = std::remove_pointer_t<decltype(target)>;
        if constexpr (std::same_as<T, std::string>) {
          read_name(value, *target, option.choices);
        } else if constexpr (requires { target->resize(0); }) {
          read_list(value, *target, option);
        } else {
          read_value(value, *target, option.searchable);
        }
      },
      option.place);
}

template <class Value>
void check_value(const Option& option, Value value) {
  if (!option.rule) return;
  const std::string expectation = option.rule(static_cast<double>(value));
  if (expectation.empty()) return;
  std::ostringstream text;
  text << option.flag() << " is " << value << ", expected " << expectation;
  raise(text.str());
}

void check_text(const Option& option, const std::string& text) {
  if (option.is_text && to_utf8(text) != text)
    raise(option.flag() + " is " + in_quotes(printable(to_utf8(text))) +
          " in another encoding, expected UTF-8, as the results are");
}

void check_option(const Option& option) {
  std::visit(
      [&](const auto* value) {
        using T = std::remove_cvref_t<decltype(*value)>;
        if constexpr (std::same_as<T, std::vector<double>>) {
          for (const double number : *value) check_value(option, number);
        } else if constexpr (std::same_as<T, std::vector<std::string>>) {
          for (const std::string& text : *value) check_text(option, text);
        } else if constexpr (std::same_as<T, std::string>) {
          check_text(option, *value);
        } else if constexpr (std::same_as<T, std::optional<std::int64_t>>) {
          if (*value) check_value(option, **value);
        } else if constexpr (std::is_arithmetic_v<T>) {
          check_value(option, *value);
        }
      },
      option.place);
}

}  // namespace

Rule expected(std::string what, std::function<bool(double)> holds) {
  return [what = std::move(what), holds = std::move(holds)](double value) {
    return holds(value) ? std::string() : what;
  };
}

Rule a_size() {
  constexpr std::int64_t most = std::int64_t{1} << 20;
  return expected("from 1 to " + std::to_string(most),
                  [](double value) { return value >= 1 && value <= double(most); });
}

Rule a_count() {
  return expected("a whole number >= 1", [](double value) { return value >= 1; });
}

Rule above_zero() {
  return expected("a number > 0", [](double value) { return value > 0 && std::isfinite(value); });
}

Rule not_negative() {
  return expected("a number >= 0", [](double value) { return value >= 0 && std::isfinite(value); });
}

std::string Option::flag() const {
  std::string result = "--" + name;
  std::replace(result.begin(), result.end(), '_', '-');
  return result;
}

Json value_of(const Option& option) {
  return std::visit(
      [&](const auto* value) -> Json {
        if constexpr (requires { value->has_value(); }) {
          if (*value) return **value;
          return option.otherwise ? Json(*option.otherwise) : Json();
        } else {
          return *value;
        }
      },
      option.place);
}

OptionTable::OptionTable(std::vector<std::vector<Option>> groups) {
  for (auto& group : groups)
    for (Option& option : group) options_.push_back(std::move(option));
}

const Option& OptionTable::operator[](const std::string& name) const {
  for (const Option& option : options_)
    if (option.name == name) return option;
  raise("there is no option " + name);
}

void OptionTable::check() const {
  for (const Option& option : options_) check_option(option);
}

void OptionTable::check(const std::vector<std::string>& names) const {
  for (const std::string& name : names) check_option((*this)[name]);
}

Json OptionTable::to_json() const {
  Json json;
  for (const Option& option : options_)
    if (option.saved && !option.matters) json[option.name] = value_of(option);
  for (const Option& option : options_)
    if (option.saved && option.matters && option.matters()) json[option.name] = value_of(option);
  return json;
}

void OptionTable::read(const Json& json) const {
  for (const Option& option : options_) {
    if (!option.saved || (option.matters && !json.contains(option.name))) continue;
    try {
      read_option(option, json.at(option.name));
    } catch (const std::invalid_argument& error) {
      raise(option.name + " " + error.what());
    }
  }
}

void OptionTable::set(const std::string& name, const Json& value) const {
  read_option((*this)[name], value);
}

void OptionTable::set(const Json& values) const {
  for (const auto& [name, value] : values.items()) set(name, value);
}

std::vector<std::string> OptionTable::searchable() const {
  std::vector<std::string> names;
  for (const Option& option : options_)
    if (option.saved && option.searchable) names.push_back(option.name);
  return names;
}

}  // namespace programs
