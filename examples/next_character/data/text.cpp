// SPDX-License-Identifier: MIT
#include <next_character/data/text.hpp>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <programs/base/file_error.hpp>
#include <programs/base/fingerprint.hpp>

#include <next_character/data/text_files.hpp>

namespace programs::next_character {
namespace {

constexpr std::size_t largest_share = 10;  // of the text: a tenth is held out at most
constexpr std::size_t validation_share = 3;

/// The files that the options name.
std::filesystem::path place_of(const TextOptions& options) {
  if (!options.data.empty()) return options.data;
  const std::filesystem::path library = python_library();
  if (library.empty())
    throw std::invalid_argument(
        "there is no Python whose standard library could be read; name a text: --data PATH");
  return library;
}

std::vector<std::string> endings_of(const TextOptions& options) {
  if (options.data.empty() && options.endings.empty()) return {".py"};
  return options.endings;
}

void check_length(const std::filesystem::path& path, std::string_view part, std::size_t length,
                  Index window) {
  if (length > std::size_t(window)) return;
  if (length == 0 && part.empty()) throw FileError(path, "is empty");
  throw FileError(path, (part.empty() ? "has " : "is too short: " + std::string(part) + " has ") +
                            std::to_string(length) + " characters, and a window of " +
                            std::to_string(window) + " needs more");
}

}  // namespace

std::vector<std::filesystem::path> files_of(const TextOptions& options) {
  return text_files(place_of(options), endings_of(options));
}

bool is_of_text(const TextOptions& options, const std::filesystem::path& file) {
  return is_below(place_of(options), endings_of(options), file);
}

std::string fingerprint_of(const Text& text) {
  return Fingerprint().add(std::span<const char>(text.numbered)).text();
}

std::size_t cut_between_files(std::span<const std::size_t> ends, std::size_t size,
                              std::size_t wanted) {
  const std::size_t cut = size - wanted;
  const auto distance = [&](std::size_t end) { return end > cut ? end - cut : cut - end; };
  std::size_t best = cut;
  std::size_t least = size;
  for (const std::size_t end : ends) {
    const std::size_t held_out = end < size ? size - end : 0;
    if (2 * held_out < wanted || held_out > 2 * wanted || distance(end) >= least) continue;
    best = end;
    least = distance(end);
  }
  return best;
}

Text read_text(const TextOptions& options, Index window, comet::RandomKey key) {
  const std::filesystem::path path = place_of(options);
  JoinedFiles joined = read_shuffled(files_of(options), key);
  const std::size_t size = joined.text.size();
  check_length(path, "", size, window);
  Text text;
  text.source = path.string();
  text.files = joined.ends.size();
  const std::size_t wanted = std::min(std::size_t(options.held_out), size / largest_share);
  text.validation_end = cut_between_files(joined.ends, size, wanted);
  text.train_end = cut_between_files(joined.ends, text.validation_end, wanted / validation_share);
  check_length(path, "the part to train on", text.train_end, window);
  check_length(path, "the part for validation", text.validation_end - text.train_end, window);
  check_length(path, "the part that is held out", size - text.validation_end, window);
  text.alphabet = Alphabet(std::string_view(joined.text).substr(0, text.train_end));
  if (text.alphabet.bytes().size() < 2)
    throw FileError(path, "is made of one symbol only: there is nothing to predict");
  text.numbered = std::move(joined.text);
  text.alphabet.number(text.numbered);
  return text;
}

Text read_whole(const TextOptions& options, const Alphabet& alphabet, Index window) {
  const std::filesystem::path path = place_of(options);
  JoinedFiles joined = read_shuffled(files_of(options), comet::RandomKey(0));
  check_length(path, "", joined.text.size(), window);
  Text text;
  text.source = path.string();
  text.alphabet = alphabet;
  text.files = joined.ends.size();
  text.numbered = std::move(joined.text);
  alphabet.number(text.numbered);
  return text;
}

}  // namespace programs::next_character
