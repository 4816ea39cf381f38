// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <CLI/CLI.hpp>

#include <bert/commands/commands.hpp>
#include <bert/data/tokenizer.hpp>
#include <bert/data/vocabulary.hpp>
#include <programs/base/file_error.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::bert {
namespace {

struct TokensOptions {
  std::string text = "-";
  std::string vocabulary;
  std::int64_t max_length = 512;
  bool pairs = false;
};

Encoded encoded(const Tokenizer& tokenizer, std::string_view line, const TokensOptions& o) {
  const std::size_t tab = o.pairs ? line.find('\t') : std::string_view::npos;
  if (tab == std::string_view::npos) return tokenizer.encode(line, o.max_length);
  return tokenizer.encode(line.substr(0, tab), line.substr(tab + 1), o.max_length);
}

/// Lines end at line feeds alone, so that every line of the text is one of the output.
void write_tokens(std::istream& text, const TokensOptions& o, std::ostream& out) {
  const Tokenizer tokenizer(read_vocabulary(o.vocabulary));
  for (std::string line; std::getline(text, line);) {
    const char* blank = "";
    for (const TokenId id : encoded(tokenizer, line, o).ids) {
      out << blank << id;
      blank = " ";
    }
    out << '\n';
  }
}

void tokens(const TokensOptions& o, const Console& console) {
  expect_at_least("--max-length", o.max_length, o.pairs ? 3 : 2);
  if (o.text == "-") return write_tokens(std::cin, o, console.out);
  if (std::filesystem::is_directory(o.text)) throw FileError(o.text, "is a directory");
  std::ifstream file(o.text, std::ios::binary);
  if (!file) throw FileError(o.text, "cannot be opened");
  write_tokens(file, o, console.out);
  if (file.bad()) throw FileError(o.text, "cannot be read");
}

}  // namespace

void add_tokens(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand("tokens", "Write a text as the numbers of its pieces");
  auto o = std::make_shared<TokensOptions>();
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)
        ->type_name(type)
        ->capture_default_str()
        ->check(std::is_same_v<decltype(value), std::string&> ? what_is_empty : what_is_empty);
  };
  option("text", o->text, "FILE", "the text; - for what comes in");
  option("--vocabulary", o->vocabulary, "PATH", "vocab.txt, or the folder of a model that has one")
      ->required();
  option("--max-length", o->max_length, "N", "pieces of a line, [CLS] and [SEP] among them");
  command->add_flag("--pairs", o->pairs, "a line has two texts, with a tab between them");
  command->footer(
      "Prints a line for each line of the text, whatever it holds: numbers with blanks\n"
      "between them, those of [CLS] and [SEP] too.\n"
      "\n"
      "Example:\n"
      "  bert tokens --vocabulary data/minilm sentences.txt");
  command->callback([o, console] { tokens(*o, console); });
}

}  // namespace programs::bert
