// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <programs/base/json.hpp>

/// \file
/// \brief The options of a program as one table: command line, JSON, search spaces and checks
/// follow from it.

namespace programs {

/// \brief What is expected of a number that is not right; nothing of one that is.
using Rule = std::function<std::string(double value)>;

/// What a whole number that is out of its bounds should have been, from its digits.
[[nodiscard]] inline const char* smaller_or_larger(std::string_view number) {
  return number.starts_with('-') ? "larger" : "smaller";
}

/// Of sizes: from 1 to 2^20.
[[nodiscard]] Rule a_size();
/// Of what there may be any number of: from 1 on.
[[nodiscard]] Rule a_count();
[[nodiscard]] Rule above_zero();
[[nodiscard]] Rule not_negative();
/// \param what  the numbers that `holds` takes, in words
[[nodiscard]] Rule expected(std::string what, std::function<bool(double)> holds);

/// \brief A line of the table. The default is what is in its place at first.
struct Option {
  using Place =
      std::variant<bool*, int*, std::int64_t*, double*, std::string*, std::optional<std::int64_t>*,
                   std::optional<std::string>*, std::vector<double>*, std::vector<std::string>*>;

  /// On a command line.
  enum class Use { always, where_named, required };

  /// \param called   in JSON and search spaces; on the command line with `-` for `_`
  /// \param where    not owned
  /// \param of_type  "N"
  Option(std::string called, Place where, const char* of_type, std::string explained)
      : name(std::move(called)), place(where), type(of_type), help(std::move(explained)) {}

  Option& must_be(Rule each_number) { return set(&Option::rule, std::move(each_number)); }
  Option& one_of(std::vector<std::string> names) { return set(&Option::choices, std::move(names)); }
  Option& list_of(std::size_t numbers) { return set(&Option::length, numbers); }
  Option& used(Use how) { return set(&Option::use, how); }
  /// The results do not depend on it: it is not in their JSON.
  Option& not_saved() { return set(&Option::saved, false); }
  Option& not_searched() { return set(&Option::searchable, false); }
  /// Whether the results depend on it, with the others as they are.
  Option& if_it(std::function<bool()> holds) { return set(&Option::matters, std::move(holds)); }
  /// A name that results do not say, so that it need not be UTF-8.
  Option& of_any_bytes() { return set(&Option::is_text, false); }
  /// In place of a number that is not given. \param number  not owned
  Option& or_else(const std::int64_t& number) { return set(&Option::otherwise, &number); }

  [[nodiscard]] bool is_list() const {
    return std::holds_alternative<std::vector<double>*>(place) ||
           std::holds_alternative<std::vector<std::string>*>(place);
  }
  /// "--search-epochs".
  [[nodiscard]] std::string flag() const;

  std::string name;
  Place place;
  const char* type;
  std::string help;
  Rule rule;
  std::vector<std::string> choices;
  std::size_t length = 0;  // of a list; 0 for any
  Use use = Use::always;
  bool saved = true;
  bool searchable = true;
  bool is_text = true;            // for people: in UTF-8
  std::function<bool()> matters;  // null for always
  const std::int64_t* otherwise = nullptr;

 private:
  template <class T>
  Option& set(T Option::*member, std::type_identity_t<T> value) {
    this->*member = std::move(value);
    return *this;
  }
};

/// What is in its place, or what counts for it; null for nothing.
[[nodiscard]] Json value_of(const Option& option);

/// \brief The options of one object, which has to outlive the table.
class OptionTable {
 public:
  /// \param groups  in the order of help and checks
  explicit OptionTable(std::vector<std::vector<Option>> groups);

  [[nodiscard]] const std::vector<Option>& options() const noexcept { return options_; }
  /// \throws std::invalid_argument if there is none of this name
  [[nodiscard]] const Option& operator[](const std::string& name) const;

  /// \throws std::invalid_argument naming the option, its value and its bound
  void check() const;
  /// The same of those that are named, for a command that has no others.
  void check(const std::vector<std::string>& names) const;

  /// Those that the results depend on: first those that always matter.
  [[nodiscard]] Json to_json() const;
  /// \brief Reads what to_json() wrote, as far as it says.
  /// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
  void read(const Json& json) const;

  /// \brief Sets an option. \throws std::invalid_argument for a value that it cannot have
  void set(const std::string& name, const Json& value) const;
  /// The same of all members of an object.
  void set(const Json& values) const;
  /// The names of those that may be in a search space.
  [[nodiscard]] std::vector<std::string> searchable() const;

 private:
  std::vector<Option> options_;
};

}  // namespace programs
