// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <vector>

#include <next_character/data/text.hpp>
#include <next_character/model/model_file.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/console.hpp>

namespace programs::next_character {

/// The parts of a text that a model may be asked about; the last is all of any other text.
[[nodiscard]] const std::vector<std::string>& split_names();

/// Where the text is; endings that are not named are those of the training.
[[nodiscard]] TrainOptions options_for(const ModelFile& file, const TextOptions& options);

/// \brief A text in the numbers of a model: that of its training, split in the same way, or any
/// other one, whole. Says if it is to be split, and is another than that of the training.
/// \param options  as of options_for()
/// \throws FileError for a text that cannot be used, or a model of another text
[[nodiscard]] Text text_for(const ModelFile& file, const TextOptions& options,
                            const std::string& split, const Console& console);

[[nodiscard]] std::span<const Symbol> part_of(const Text& text, const std::string& split);

}  // namespace programs::next_character
