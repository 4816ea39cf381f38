// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <comet/core/types.hpp>

#include <movielens/base/console.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/training/train_options.hpp>
#include <movielens/training/trainer.hpp>

namespace movielens {

/// \brief Ratings made into the two tasks, and where they came from.
struct Dataset {
  std::string source;
  std::size_t ratings = 0;
  TwoTaskData rows;
  std::vector<std::string> user_ids;  ///< per user, as in the file
  std::vector<std::string> item_ids;
  std::vector<std::string> notes;  ///< of Ratings
};

/// \brief Reads the ratings of options.data and draws negatives and splits from the split's seed.
/// \throws FileError for ratings that cannot be used
[[nodiscard]] Dataset load(const TrainOptions& options);

struct RunResult {
  TrainingResult training;
  Index parameters = 0;
};

/// The figures of a run that was done before with the same options on the same data.
[[nodiscard]] std::optional<RunResult> finished_run(const TrainOptions& options,
                                                    const Dataset& data);

/// \brief Trains one model; writes metrics.jsonl, steps.jsonl and checkpoints as it goes, and
/// model.safetensors and result.json at the end, to options.out.
///
/// With options.resume it goes on from the checkpoint there, if there is one.
/// \throws Interrupted if an orderly end was asked for
RunResult run(const TrainOptions& options, const Dataset& data, const Console& console);

// What a gate looks at is part of its type, so there are two models to compile, in a source file
// each.
RunResult run_feature_gate(const TrainOptions& options, const Dataset& data,
                           const Console& console);
RunResult run_hash_gate(const TrainOptions& options, const Dataset& data, const Console& console);

}  // namespace movielens
