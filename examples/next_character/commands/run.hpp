// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/base/json.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>

namespace programs::next_character {

/// \brief Reads the text of the options, with its files in the order of the split's seed.
/// \throws FileError for a text that cannot be used
[[nodiscard]] Text load(const TrainOptions& options);

/// \throws std::invalid_argument if the window is too long for a part of the text
void check_fits(const TrainOptions& options, const Text& text);

/// How many characters, symbols and files.
[[nodiscard]] Json counts_of(const Text& text);

/// What a table says of a row.
[[nodiscard]] const ResultWords& result_words();

/// The figures of a run that was done before with the same options on the same text.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options, const Text& text);

/// \brief Trains one model and writes what there is to write of it to options.out. With
/// options.resume it goes on from the checkpoint there, or does nothing if the run is finished.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const Text& text, const Console& console);

}  // namespace programs::next_character
