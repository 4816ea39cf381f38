// SPDX-License-Identifier: MIT
#include <next_character/commands/model_text.hpp>

#include <next_character/commands/run.hpp>
#include <programs/commands/other_data.hpp>

namespace programs::next_character {

const std::vector<std::string>& split_names() {
  static const std::vector<std::string> names = {"test", "validation", "train", "all"};
  return names;
}

TrainOptions options_for(const ModelFile& file, const TextOptions& options) {
  TrainOptions all = file.options();
  all.text.data = options.data;
  if (!options.endings.empty()) all.text.endings = options.endings;
  return all;
}

Text text_for(const ModelFile& file, const TextOptions& options, const std::string& split,
              const Console& console) {
  const TrainOptions all = options_for(file, options);
  if (split == "all") return read_whole(all.text, file.alphabet(), all.model.window);
  Text text = load(all);
  file.check_alphabet(text);
  tell_other_data(file.content(), fingerprint_of(text), text.source, console);
  return text;
}

std::span<const Symbol> part_of(const Text& text, const std::string& split) {
  if (split == "all") return as_symbols(text.numbered);
  return split == "train" ? text.train() : split == "validation" ? text.validation() : text.test();
}

}  // namespace programs::next_character
