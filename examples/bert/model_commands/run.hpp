// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <bert/model/study_data.hpp>
#include <bert/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>

namespace programs::bert {

/// \throws std::invalid_argument if a student is to have more units than its teacher
void check_fits(const TrainOptions& options, const StudyData& data);

/// What a table says of a student, and of a teacher.
[[nodiscard]] const ResultWords& result_words();

/// The figures of a run that was done before with the same options on the same data.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options,
                                                    const StudyData& data);

/// \brief Trains one model and writes what there is to write of it to options.out. With
/// options.resume it goes on from the checkpoint there, or does nothing if the run is finished.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const StudyData& data, const Console& console);

/// The teacher as a row of a table: nothing is trained.
[[nodiscard]] RunResult judge_teacher(const TrainOptions& options, const StudyData& data);

}  // namespace programs::bert
