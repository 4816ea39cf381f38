// SPDX-License-Identifier: MIT
#include <programs/report/result_table.hpp>

#include <cstddef>

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

Cells cells_of(const std::vector<ResultRow>& rows, const ResultWords& words) {
  Cells cells = {{"gate"}};
  if (words.has_local_search) cells.front().push_back("local search");
  for (const ResultColumn& column : words.measures) cells.front().push_back(column.title);
  cells.front().insert(cells.front().end(),
                       {"experts/" + words.samples,
                        words.is_timed_by_epoch ? "seconds/epoch" : "seconds", "parameters"});
  for (const ResultRow& row : rows) {
    cells.push_back({row.gate});
    if (words.has_local_search) cells.back().push_back(row.local_search);
    const auto add = [&](int digits, auto figure) {
      cells.back().push_back(mean_and_error_text(row, digits, figure));
    };
    for (const ResultColumn& column : words.measures)
      add(column.digits,
          [&](const RunResult& r) { return r.training.test.measure(column.measure); });
    add(2, [](const RunResult& r) { return r.training.test.experts_per_sample; });
    add(1, [&](const RunResult& r) {
      return words.is_timed_by_epoch ? r.training.seconds_per_epoch : r.training.seconds;
    });
    cells.back().push_back(std::to_string(row.runs.front().parameters));
  }
  return cells;
}

/// Columns of words.
std::size_t num_words(const ResultWords& words) { return words.has_local_search ? 2 : 1; }

}  // namespace

std::string result_table(const std::vector<ResultRow>& rows, const ResultWords& words) {
  return text_table(cells_of(rows, words), num_words(words));
}

std::string result_markdown(const std::vector<ResultRow>& rows, const ResultWords& words) {
  return markdown_table(cells_of(rows, words), num_words(words));
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
                      {"parameters", run.parameters}});
    list.push_back({{"gate", row.gate}, {"local_search", row.local_search}, {"runs", runs}});
  }
  return list;
}

}  // namespace programs
