// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <next_character/data/text.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/train_options.hpp>

namespace programs::next_character {

/// \brief A model as it is before training.
/// \param frequency  per symbol, how often it occurs: a hash gate spreads the last characters over
///                   the experts so that each serves as many
[[nodiscard]] Model build_model(const TrainOptions& options,
                                std::span<const std::int64_t> frequency);

/// How often each symbol occurs in the part of a text that is trained on.
[[nodiscard]] std::vector<std::int64_t> symbol_frequency(const Text& text);

}  // namespace programs::next_character
