// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <programs/base/json.hpp>
#include <programs/training/run.hpp>

/// \file
/// \brief Trainings side by side: a row per gate and local search.

namespace programs {

/// \brief The runs of one gate with one local search: one per seed.
struct ResultRow {
  std::string gate;
  std::string local_search;
  std::vector<RunResult> runs;
};

/// A measure of the test rows, and what stands above it.
struct ResultColumn {
  std::string measure;
  std::string title;
  int digits = 4;  ///< behind the point
};

/// \brief What a program's table has, and how it speaks of it.
struct ResultWords {
  std::vector<ResultColumn> measures;
  std::string samples = "sample";  ///< what an expert is asked about
  bool has_local_search = true;    ///< else there is no column for it
  bool is_timed_by_epoch = true;   ///< else by the whole training
};

/// Test figures as a table for a terminal; means and standard errors if there are several seeds.
[[nodiscard]] std::string result_table(const std::vector<ResultRow>& rows,
                                       const ResultWords& words);
/// The same in Markdown.
[[nodiscard]] std::string result_markdown(const std::vector<ResultRow>& rows,
                                          const ResultWords& words);
[[nodiscard]] Json to_json(const std::vector<ResultRow>& rows);

}  // namespace programs
