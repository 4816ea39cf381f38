// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <programs/base/json.hpp>
#include <programs/base/text_table.hpp>
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
  int digits = 4;            ///< behind the point
  bool may_be_none = false;  ///< a row without it has "-"
};

/// \brief What a program's table has, and how it speaks of it.
struct ResultWords {
  std::vector<ResultColumn> measures;
  std::string samples = "sample";  ///< what an expert is asked about
  std::string rows = "test rows";  ///< what the figures are of
  bool has_local_search = true;    ///< else there is no column for it
  bool is_timed_by_epoch = true;   ///< else by the whole training
};

/// The folder of a run within that of its comparison.
[[nodiscard]] std::string run_name(const ResultRow& row, std::int64_t seed,
                                   const ResultWords& words);

/// \brief Test figures as cells, the head first; means and standard errors if there are several
/// seeds.
[[nodiscard]] Cells result_cells(const std::vector<ResultRow>& rows, const ResultWords& words);
/// How many of the columns are words.
[[nodiscard]] std::size_t num_words(const ResultWords& words);

/// Test figures as a table for a terminal; means and standard errors if there are several seeds.
[[nodiscard]] std::string result_table(const std::vector<ResultRow>& rows,
                                       const ResultWords& words);
/// The same in Markdown.
[[nodiscard]] std::string result_markdown(const std::vector<ResultRow>& rows,
                                          const ResultWords& words);
[[nodiscard]] Json to_json(const std::vector<ResultRow>& rows);

/// \brief What to_json() was given, but for what tables do not show.
/// \throws Json::exception if it is none
[[nodiscard]] std::vector<ResultRow> result_rows_from(const Json& list);
/// \brief The row of one training. \param result  its result.json
/// \throws Json::exception if it is none
[[nodiscard]] ResultRow result_row_of(const Json& result);

}  // namespace programs
