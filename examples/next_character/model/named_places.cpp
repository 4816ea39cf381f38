// SPDX-License-Identifier: MIT
#include <next_character/model/named_places.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <next_character/data/kinds_of_place.hpp>
#include <next_character/data/windows.hpp>
#include <programs/base/utf8.hpp>
#include <programs/training/decision_paths.hpp>

namespace programs::next_character {
namespace {

constexpr std::size_t longest_passage = 20'000;  // in which a place of each kind is looked for

std::string text_of(std::span<const Symbol> symbols, const Alphabet& alphabet) {
  std::string text;
  for (const Symbol symbol : symbols) text += alphabet.byte(symbol);
  return text;
}

/// Per kind that occurs behind a window, the place in the middle of those there are.
std::vector<std::size_t> places_of(const std::vector<KindOfPlace>& kinds, std::size_t window) {
  std::vector<std::size_t> places;
  for (std::size_t kind = 0; kind < num_kinds_of_place; ++kind) {
    std::vector<std::size_t> of_kind;
    for (std::size_t place = window; place < kinds.size(); ++place)
      if (kinds[place] == KindOfPlace(kind)) of_kind.push_back(place);
    if (!of_kind.empty()) places.push_back(of_kind[of_kind.size() / 2]);
  }
  return places;
}

/// "name: "self." and then "x"", ends of lines as \n.
std::string name_of(KindOfPlace kind, const std::string& before, char next) {
  const auto shown = [](const std::string& text) {
    std::string result;
    for (const char c : text) result += c == '\n' ? "\\n" : std::string(1, c);
    return '"' + printable(to_utf8(result)) + '"';
  };
  return std::string(kind_of_place_names[std::size_t(kind)]) + ": " + shown(before) + " and then " +
         shown({next});
}

}  // namespace

Json decision_paths(const Model& model, const Text& text, Index window) {
  const auto symbols = text.test().first(std::min(text.test().size(), longest_passage));
  const std::string passage = text_of(symbols, text.alphabet);
  const std::vector<KindOfPlace> kinds = kinds_of_place(passage);
  Windows windows(symbols, window);
  Model::Pass pass(model);
  Json list = Json::array();
  for (const std::size_t place : places_of(kinds, std::size_t(window))) {
    const std::size_t first = place - std::size_t(window);
    const Batch batch = windows.gather(1, [&](std::size_t) { return first; });
    (void)model.predict(batch.before, batch.last, pass);
    Json path = decision_path<Model::Scalar>(
        name_of(kinds[place], passage.substr(first, std::size_t(window)), passage[place]),
        model.gates(), pass.workspace.normalized());
    if (path.is_null()) return Json::array();
    list.push_back(std::move(path));
  }
  return list;
}

}  // namespace programs::next_character
