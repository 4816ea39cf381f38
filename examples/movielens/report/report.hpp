// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <movielens/training/evaluation.hpp>
#include <movielens/training/run.hpp>
#include <movielens/training/trainer.hpp>

/// \file
/// \brief What a training says: one line per epoch, JSON for programs, a table at the end.

namespace movielens {

[[nodiscard]] Json to_json(const Figures& figures);
/// What to_json() was given.
[[nodiscard]] Figures figures_from(const Json& json);
[[nodiscard]] Json to_json(const EpochReport& report);
[[nodiscard]] Json to_json(const StepReport& report);

/// "epoch 2/6  loss 0.61 ..." for people.
[[nodiscard]] std::string progress_line(const EpochReport& report, int epochs);

/// \brief The runs of one gate with one local search: one per seed.
struct ResultRow {
  std::string gate;
  std::string local_search;
  std::vector<RunResult> runs;
};

/// Test figures as a table for a terminal; means and standard errors if there are several seeds.
[[nodiscard]] std::string result_table(const std::vector<ResultRow>& rows);
/// The same in Markdown.
[[nodiscard]] std::string result_markdown(const std::vector<ResultRow>& rows);
[[nodiscard]] Json to_json(const std::vector<ResultRow>& rows);

/// What a table needs of a result.json.
[[nodiscard]] RunResult run_result_from(const Json& json);

}  // namespace movielens
