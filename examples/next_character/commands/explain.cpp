// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/core/random.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/commands/model_text.hpp>
#include <next_character/data/kinds_of_place.hpp>
#include <next_character/data/text.hpp>
#include <next_character/model/model_file.hpp>
#include <next_character/model/place_rows.hpp>
#include <next_character/model/specialisation.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/report/expert_page.hpp>
#include <programs/base/files.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::next_character {
namespace {

struct ExplainOptions {
  std::string model;
  TrainOptions data;  // the text
  std::string split = "test";
  int length = 4000;
  std::string out = "experts.html";
};

constexpr std::size_t places_of_statistics = 200'000;

std::string text_of(std::span<const Symbol> symbols, const Alphabet& alphabet) {
  std::string text;
  for (const Symbol symbol : symbols) text += alphabet.byte(symbol);
  return text;
}

/// Per kind of place, the share of each expert.
void print(const Specialisation& experts, std::ostream& out) {
  Cells cells = {{"predicting", "share"}};
  for (std::size_t e = 0; e < experts.share.front().size(); ++e)
    cells.front().push_back("expert " + std::to_string(e));
  for (std::size_t kind = 0; kind < experts.share.size(); ++kind) {
    double sum = 0;
    for (const double share : experts.share[kind]) sum += share;
    cells.push_back({std::string(kind_of_place_names[kind]), formatted("%.3f", sum)});
    for (const double share : experts.share[kind])
      cells.back().push_back(formatted("%.3f", sum > 0 ? share / sum : 0));
  }
  out << text_table(cells, 1)
      << formatted(
             "kind of place and expert share %.3f bits; %.4f if experts are dealt at random\n",
             experts.mutual_information, experts.of_shuffled_rows);
}

void explain(const ExplainOptions& o, const Console& console) {
  expect_at_least("--length", o.length, 1);
  refuse_input("--out", o.out, {{o.model}});
  const ModelFile file(o.model);
  refuse_input("--out", o.out, {files_of(options_for(file, o.data.text).text)});
  const Text text = text_for(file, o.data.text, o.split, console);
  const Model model = file.model();
  const Index window = file.options().model.window;
  const auto part = part_of(text, o.split);
  const std::vector<PlaceRow> rows =
      place_rows(model, part, window, std::size_t(file.options().batch_size),
                 std::max(places_of_statistics, std::size_t(o.length)));
  // Kinds are told from the first character on, the window's too: a string may have begun there.
  const std::string seen = text_of(part.first(std::size_t(window) + rows.size()), text.alphabet);
  const std::vector<KindOfPlace> kinds = kinds_of_place(seen);
  const Specialisation experts =
      specialisation_of(rows, std::span(kinds).subspan(std::size_t(window)),
                        model.mixture().num_experts(), comet::RandomKey(0));
  const std::size_t shown = std::min(rows.size(), std::size_t(o.length));
  write_atomically(o.out,
                   html_of({.title = "Experts of " + file.options().gate + " on " + text.source,
                            .passage = std::string_view(seen).substr(std::size_t(window), shown),
                            .rows = std::span(rows).first(shown),
                            .experts = experts}));
  print(experts, console.out);
  console.out << o.out << '\n';
}

}  // namespace

void add_explain(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "explain", "Show which experts spoke at which characters of a text, as a page for a browser");
  auto o = std::make_shared<ExplainOptions>();
  add_model_file(*command, o->model);
  const OptionTable table = table_of(o->data);
  add_options(*command, table, {"data", "endings"});
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  option("--split", o->split, "SPLIT", "of the text as in the training, or all of any other text")
      ->check(one_of(split_names()));
  option("--length", o->length, "N", "characters to show, from the first on");
  option("--out", o->out, "FILE", "the page");
  command->footer(
      "Prints what the experts came to be for: how the weight of each kind of place is\n"
      "shared out, over the first 200,000 characters.\n"
      "\n"
      "Example:\n"
      "  next_character explain --model results/comet/model.safetensors \\\n"
      "    --data my.py --split all");
  command->callback([o, console] { explain(*o, console); });
}

}  // namespace programs::next_character
