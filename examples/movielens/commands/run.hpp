// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <movielens/data/dataset.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/base/json.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>

namespace programs::movielens {

/// \brief Reads the ratings of options.data and draws negatives and splits from the split's seed.
/// \throws FileError for ratings that cannot be used
[[nodiscard]] Dataset load(const TrainOptions& options);

/// What people should know of the data, a line each.
void tell_notes(const Dataset& data, const Console& console);

/// How many ratings, users and items.
[[nodiscard]] Json counts_of(const Dataset& data);

/// What a table has of the two tasks.
[[nodiscard]] const ResultWords& result_words();

/// The figures of a run that was done before with the same options on the same data.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options,
                                                    const Dataset& data);

/// \brief Trains one model and writes what there is to write of it to options.out. With
/// options.resume it goes on from the checkpoint there, or does nothing if the run is finished.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const Dataset& data, const Console& console);

}  // namespace programs::movielens
