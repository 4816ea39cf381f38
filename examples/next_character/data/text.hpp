// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <next_character/data/alphabet.hpp>

namespace programs::next_character {

/// What a text is read from, and how it is split.
struct TextOptions {
  std::string data = {};  ///< a file or a folder; empty for Python's standard library
  std::vector<std::string> endings = {};  ///< of the files of a folder; empty for any text
  std::int64_t held_out = 1'500'000;      ///< characters, at most a tenth of the text
};

/// \brief A text in symbols, and its three parts: to train on, to choose weights by, and held out.
struct Text {
  std::string source;
  Alphabet alphabet;     ///< of the part to train on
  std::string numbered;  ///< every character as its symbol
  std::size_t files = 0;
  std::size_t train_end = 0;
  std::size_t validation_end = 0;

  [[nodiscard]] std::span<const Symbol> train() const {
    return as_symbols(numbered).first(train_end);
  }
  [[nodiscard]] std::span<const Symbol> validation() const {
    return as_symbols(numbered).subspan(train_end, validation_end - train_end);
  }
  /// Held out.
  [[nodiscard]] std::span<const Symbol> test() const {
    return as_symbols(numbered).subspan(validation_end);
  }
};

/// The files that a text is read from. \throws FileError if there is nothing there, or no text
[[nodiscard]] std::vector<std::filesystem::path> files_of(const TextOptions& options);

/// Whether a file of a name, there or not yet, would be one of them.
[[nodiscard]] bool is_of_text(const TextOptions& options, const std::filesystem::path& file);

/// Of all of its symbols.
[[nodiscard]] std::string fingerprint_of(const Text& text);

/// \brief Where to cut a text of these files so that about `wanted` characters of its first `size`
/// are behind the cut.
///
/// That is between two files, so that whole files are held out, unless this would hold out less
/// than half or more than twice as much: a text of one file is cut in the middle of it.
[[nodiscard]] std::size_t cut_between_files(std::span<const std::size_t> ends, std::size_t size,
                                            std::size_t wanted);

/// \brief Reads a text, its files in a random order that the key decides: the last of them are held
/// out, and of the others again the last, a third as much, are for validation.
/// \param window  characters that a model sees: each part has to have more
/// \throws FileError for a text that cannot be read, is too short or of one symbol only
[[nodiscard]] Text read_text(const TextOptions& options, Index window, comet::RandomKey key);

/// \brief Another text for a trained model: all of it is in the part that is held out.
/// \throws FileError as read_text() does
[[nodiscard]] Text read_whole(const TextOptions& options, const Alphabet& alphabet, Index window);

}  // namespace programs::next_character
