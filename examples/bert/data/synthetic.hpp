// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/random.hpp>

#include <bert/data/tasks.hpp>

namespace programs::bert {

/// \brief Made-up sentences, half of them with a fault: the verb or the determiner is of the other
/// number, two neighbouring words are exchanged, or the verb is missing. For places where no real
/// sentences can be had.
///
/// None is there twice, so that parts of them have no sentence in common.
/// \param count  at most 20,000
[[nodiscard]] std::vector<Example> make_synthetic_sentences(std::int64_t count,
                                                            comet::RandomKey key);

/// \brief Writes CoLA/train.tsv and CoLA/dev.tsv in the form of that task, and SOURCE, which says
/// what they are.
/// \throws FileError if a file exists already or cannot be written
void write_synthetic(const std::filesystem::path& folder, std::span<const Example> train,
                     std::span<const Example> dev, std::string_view source);

}  // namespace programs::bert
