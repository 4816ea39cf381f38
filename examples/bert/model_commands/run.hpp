// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <bert/model/study_data.hpp>
#include <bert/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/report/result_table.hpp>
#include <programs/training/run.hpp>

namespace programs::bert {

/// What a table says of a student, and of a teacher.
[[nodiscard]] const ResultWords& result_words();

/// The figures of a run that was done before with the same options on the same data.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options,
                                                    const StudyData& data);

/// \brief Trains one model and writes what there is to write of it to options.out. With
/// options.resume it goes on from the checkpoint there, or does nothing if the run is finished.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const StudyData& data, const Console& console);

/// \brief Options of the dense student that costs as many multiply-adds a token as a mixture was
/// found to cost, its gates among them: as near as a number of units, the same in all layers,
/// comes. At most those of the teacher: a mixture may cost more than that.
[[nodiscard]] Json twin_of(const StudyData& data, const RunResult& mixture);

/// The teacher as a row of a table: nothing is trained.
[[nodiscard]] RunResult judge_teacher(const TrainOptions& options, const StudyData& data);

}  // namespace programs::bert
