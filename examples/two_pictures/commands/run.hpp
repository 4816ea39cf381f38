// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <programs/base/console.hpp>
#include <programs/base/json.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

/// \brief Reads the pictures of the options, in the parts of the split's seed.
/// \throws FileError for pictures that cannot be used
[[nodiscard]] Dataset load(const TrainOptions& options);

/// \throws std::invalid_argument if a model of the options cannot be made for the pictures
void check_fits(const TrainOptions& options, const Dataset& data);

/// How many pictures and classes.
[[nodiscard]] Json counts_of(const Dataset& data);

/// What a table says of a row.
[[nodiscard]] const ResultWords& result_words();

/// The figures of a run that was done before with the same options on the same pictures.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options,
                                                    const Dataset& data);

/// \brief Trains one model and writes what there is to write of it to options.out. With
/// options.resume it goes on from the checkpoint there, or does nothing if the run is finished.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const Dataset& data, const Console& console);

}  // namespace programs::two_pictures
