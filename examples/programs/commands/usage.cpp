// SPDX-License-Identifier: MIT
#include <programs/commands/usage.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <sstream>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/nearest.hpp>
#include <programs/commands/command_line.hpp>

namespace programs {
namespace {

constexpr std::size_t page_width = 80;

/// A word in the pieces that it may be broken into: a list is broken after its commas.
std::vector<std::string> pieces_of(const std::string& word, std::size_t longest) {
  if (word.size() <= longest) return {word};
  std::vector<std::string> pieces;
  std::istringstream items(word);
  for (std::string item; std::getline(items, item, ',');) {
    if (!items.eof()) item += ',';
    if (pieces.empty() || pieces.back().size() + item.size() > longest) pieces.emplace_back();
    pieces.back() += item;
  }
  return pieces;
}

/// `left` in its column and `text` beside it, broken between words.
std::string in_columns(const std::string& left, const std::string& text,
                       std::size_t text_column = 26) {
  std::string result = left;
  std::size_t column = result.size();
  const auto next_line = [&] {
    result += '\n' + std::string(text_column, ' ');
    column = text_column;
  };
  const auto append = [&](std::string_view piece) {
    result += piece;
    column += piece.size();
  };
  if (column > 0 && column + 2 > text_column) {
    next_line();
  } else {
    result.append(text_column - column, ' ');
    column = text_column;
  }
  std::istringstream words(text);
  const auto add = [&](const std::string& word, std::string_view before) {
    const std::size_t end = column + before.size() + word.size();
    if (column > text_column && end > page_width) next_line();
    if (column > text_column) append(before);
    append(word);
  };
  for (std::string word; words >> word;) {
    const char* before = " ";
    for (const std::string& piece : pieces_of(word, page_width - text_column)) {
      add(piece, before);
      before = "";
    }
  }
  return result + '\n';
}

/// In this form with every version of CLI11, whose headings and blank lines are each its own.
class PlainHelp : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* command, std::string name,
                        CLI::AppFormatMode /*mode*/) const override {
    std::string usage = "Usage: " + name + " [OPTIONS]";
    std::string positionals;
    std::string options;
    std::string subcommands;
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) {
        usage += ' ' + make_option_usage(option);
        positionals += make_option(option, /*is_positional=*/true);
      }
      if (option->nonpositional()) options += make_option(option, /*is_positional=*/false);
    }
    for (const CLI::App* each : command->get_subcommands({})) subcommands += make_subcommand(each);
    if (!subcommands.empty()) usage += " SUBCOMMAND";
    std::string help = in_columns("", command->get_description(), 0) + '\n' + usage + '\n';
    const auto add = [&help](const char* heading, const std::string& lines) {
      if (!lines.empty()) help += std::string("\n") + heading + ":\n" + lines;
    };
    add("Positionals", positionals);
    add("Options", options);
    add("Subcommands", subcommands);
    if (!command->get_footer().empty()) help += '\n' + command->get_footer() + '\n';
    return help;
  }

  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    // CLI11 names the type and, of an option with choices, these as in GATE:{comet,top_k}.
    const std::string type = option->get_type_name();
    const std::size_t brace = type.find(":{");
    std::string left = make_option_name(option, is_positional);
    left.erase(std::min(left.find('{'), left.size()));  // what a flag stands for by itself
    if (!is_positional && !left.starts_with('-')) left = "--" + left;
    if (option->get_type_size() != 0 && !is_positional && !type.empty())
      left += ' ' + type.substr(0, brace);
    std::string text = option->get_description();
    if (brace != std::string::npos) {
      text += ':';
      std::istringstream choices(type.substr(brace + 2, type.find('}') - brace - 2));
      const char* separator = " ";
      for (std::string choice; std::getline(choices, choice, ',');) {
        text += separator + choice;
        separator = ", ";
      }
    }
    std::string value = option->get_default_str();
    // A list, and one of nothing; or, since CLI11 2.6, {}.
    if (value.starts_with('[') || value == "{}") value = value.substr(1, value.size() - 2);
    if (!value.empty()) text += " (default " + value + ')';
    if (option->get_required() && !is_positional) text += " (required)";
    return in_columns("  " + left, text);
  }

  std::string make_subcommand(const CLI::App* command) const override {
    return in_columns("  " + command->get_name(), command->get_description());
  }
};

/// The command that was being read: the last one named.
const CLI::App& innermost(const CLI::App& program) {
  const auto commands = program.get_subcommands();
  return commands.empty() ? program : *commands.back();
}

/// Of a value that is none of its option's; empty if the parser says it in other words than were seen.
std::string what_does_not_fit(const CLI::App& command, std::string_view message) {
  constexpr std::string_view opening = "Could not convert: ";
  constexpr std::string_view middle = " = ";
  const std::size_t split = message.find(middle);
  if (!message.starts_with(opening) || split == std::string_view::npos) return {};
  const std::string flag(message.substr(opening.size(), split - opening.size()));
  const std::string_view value = message.substr(split + middle.size());
  const CLI::Option* option = command.get_option_no_throw(flag);
  if (option == nullptr) return {};
  if (option->get_items_expected_max() == 0) return flag + " takes no value";
  // It is a number, and what is beyond 64 bits was found before: it is for an int.
  return flag + " is " + in_quotes(value) + ", expected " + nearest_bound<int>(value);
}

/// Without the colon that the parser puts behind an option's name: "--seed: is 7".
std::string as_sentence(std::string message) {
  if (const std::size_t colon = message.find(": is ");
      colon != std::string::npos && colon + 1 == message.find(' '))
    message.erase(colon, 1);
  return message;
}

/// Of an option that is given again, or a list that is too long or too short; empty if there is
/// none.
std::string what_is_too_much(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    const auto given = option->count();
    const auto least = std::size_t(option->get_items_expected_min());
    const auto most = std::size_t(option->get_items_expected_max());
    if (given == 0 || most == 0 || (given >= least && given <= most)) continue;
    if (most == 1)
      return option->get_name() + " is given " +
             (given == 2 ? "twice" : std::to_string(given) + " times") + ", expected once";
    return option->get_name() + " has " + std::to_string(given) +
           (given == 1 ? " value, expected " : " values, expected ") +
           std::to_string(given < least ? least : most);
  }
  return {};
}

/// Of a list, "1,2": whether nothing is where an item should be.
bool lacks_an_item(std::string_view list) {
  return list.starts_with(',') || list.ends_with(',') || list.find(",,") != std::string_view::npos;
}

}  // namespace

std::string what_lacks_an_item(const CLI::App& program, std::span<const char* const> arguments) {
  const CLI::App* command = nullptr;
  const CLI::Option* list = nullptr;  // whose values come now
  for (const std::string_view argument : arguments) {
    if (command == nullptr) {
      for (const CLI::App* each : program.get_subcommands({}))
        if (each->get_name() == argument) command = each;
      continue;
    }
    std::string_view value = argument;
    if (argument.starts_with("--")) {
      const std::size_t end = std::min(argument.find('='), argument.size());
      list = command->get_option_no_throw(std::string(argument.substr(0, end)));
      if (list != nullptr && list->get_delimiter() == '\0') list = nullptr;
      value = argument.substr(std::min(end + 1, argument.size()));
    }
    if (list != nullptr && lacks_an_item(value))
      return list->get_name() + " is " + in_quotes(value) +
             ", expected a value before and behind each comma";
  }
  return {};
}

void use_plain_help(CLI::App& program) { program.formatter(std::make_shared<PlainHelp>()); }

std::string what_was_wrong(const CLI::App& program, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = program.remaining(/*recurse=*/true);
  const CLI::App& command = innermost(program);
  if (unknown.empty()) {
    if (const std::string much = what_is_too_much(command); !much.empty()) return much;
    const std::string unfit = what_does_not_fit(command, error.what());
    return unfit.empty() ? as_sentence(error.what()) : unfit;
  }
  const std::string word = unknown.front().substr(0, unknown.front().find('='));
  std::vector<std::string> known;
  if (!word.starts_with('-')) {
    if (&command != &program) return command.get_name() + " takes no argument " + in_quotes(word);
    for (const CLI::App* each : program.get_subcommands({})) known.push_back(each->get_name());
    return "unknown command " + word + suggestion(word, known) +
           (suggestion(word, known).empty() ? "; " + program.get_name() + " --help names them all"
                                            : "");
  }
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  const std::string of = &command == &program ? "" : " of " + command.get_name();
  return "unknown option " + word + of + suggestion(word, known);
}

}  // namespace programs
