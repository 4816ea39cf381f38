// SPDX-License-Identifier: MIT
#include <programs/report/result_table.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include <programs/base/kinds.hpp>
#include <programs/base/text_table.hpp>
#include <programs/study/trials.hpp>

namespace programs {
namespace {

/// "0.7412", or "0.7412 +- 0.0031" for several runs: mean and standard error.
template <class Figure>
std::string mean_and_error_text(const ResultRow& row, int digits, Figure figure) {
  std::vector<double> values;
  for (const RunResult& run : row.runs) values.push_back(figure(run));
  const MeanAndError result = mean_and_error(values);
  return result.error ? formatted("%.*f +- %.*f", digits, result.mean, digits, *result.error)
                      : formatted("%.*f", digits, result.mean);
}

/// JSON has null for nan and infinity.
Json with_nan(Json json) {
  if (json.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (json.is_structured())
    for (Json& part : json) part = with_nan(std::move(part));
  return json;
}

RunResult run_result_from(const Json& run) {
  RunResult result;
  result.training.test = figures_from(with_nan(run.at("test")));
  result.training.best_epoch = run.at("best_epoch");
  result.training.seconds_per_epoch = run.at("seconds_per_epoch");
  // Tables of before have not said these.
  result.training.seconds = run.value("seconds", 0.0);
  result.training.test_seconds = run.value("test_seconds", 0.0);
  result.parameters = run.at("parameters");
  return result;
}

}  // namespace

std::string run_name(const ResultRow& row, std::int64_t seed, const ResultWords& words) {
  const std::string search = words.has_local_search ? "-" + row.local_search : "";
  return row.gate + search + "-seed" + std::to_string(seed);
}

Cells result_cells(const std::vector<ResultRow>& rows, const ResultWords& words) {
  Cells cells = {{"gate"}};
  if (words.has_local_search) cells.front().push_back("local search");
  for (const ResultColumn& column : words.measures) cells.front().push_back(column.title);
  cells.front().insert(cells.front().end(), {"experts/" + words.samples,
                                             words.is_timed_by_epoch ? "seconds/epoch" : "seconds",
                                             "test seconds", "parameters"});
  for (const ResultRow& row : rows) {
    cells.push_back({row.gate});
    if (words.has_local_search) cells.back().push_back(row.local_search);
    const auto add = [&](int digits, auto figure) {
      cells.back().push_back(mean_and_error_text(row, digits, figure));
    };
    for (const ResultColumn& column : words.measures) {
      const bool is_none = std::any_of(row.runs.begin(), row.runs.end(), [&](const RunResult& r) {
        return column.may_be_none && !r.training.test.find(column.measure);
      });
      if (is_none) {
        cells.back().emplace_back("-");
      } else {
        add(column.digits,
            [&](const RunResult& r) { return r.training.test.measure(column.measure); });
      }
    }
    add(2, [](const RunResult& r) { return r.training.test.experts_per_sample; });
    add(1, [&](const RunResult& r) {
      return words.is_timed_by_epoch ? r.training.seconds_per_epoch : r.training.seconds;
    });
    add(2, [](const RunResult& r) { return r.training.test_seconds; });
    cells.back().push_back(std::to_string(row.runs.front().parameters));
  }
  return cells;
}

std::size_t num_words(const ResultWords& words) { return words.has_local_search ? 2 : 1; }

std::string result_table(const std::vector<ResultRow>& rows, const ResultWords& words) {
  return text_table(result_cells(rows, words), num_words(words));
}

std::string result_markdown(const std::vector<ResultRow>& rows, const ResultWords& words) {
  return markdown_table(result_cells(rows, words), num_words(words));
}

Json to_json(const std::vector<ResultRow>& rows) {
  Json list = Json::array();
  for (const ResultRow& row : rows) {
    Json runs = Json::array();
    for (const RunResult& run : row.runs)
      runs.push_back({{"test", to_json(run.training.test)},
                      {"best_epoch", run.training.best_epoch},
                      {"seconds_per_epoch", run.training.seconds_per_epoch},
                      {"seconds", run.training.seconds},
                      {"test_seconds", run.training.test_seconds},
                      {"parameters", run.parameters}});
    list.push_back({{"gate", row.gate}, {"local_search", row.local_search}, {"runs", runs}});
  }
  return list;
}

std::vector<ResultRow> result_rows_from(const Json& list) {
  std::vector<ResultRow> rows;
  for (const Json& row : list) {
    rows.push_back({row.at("gate"), row.at("local_search"), {}});
    (void)row.at("runs").at(0);  // there is one at least
    for (const Json& run : row.at("runs")) rows.back().runs.push_back(run_result_from(run));
  }
  return rows;
}

ResultRow result_row_of(const Json& result) {
  const Json& options = result.at("options");
  // Of a model without experts there is nothing to search.
  return {options.at("gate"), options.value("local_search", no_search), {run_result_from(result)}};
}

}  // namespace programs
