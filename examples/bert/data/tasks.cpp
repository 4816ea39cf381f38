// SPDX-License-Identifier: MIT
#include <bert/data/tasks.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <system_error>

#include <comet/core/check.hpp>
#include <comet/metrics/classification.hpp>
#include <comet/metrics/correlation.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/nearest.hpp>
#include <programs/base/utf8.hpp>

namespace programs::bert {
namespace {

namespace fs = std::filesystem;

using Cells = std::vector<std::string_view>;

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// The text up to a mark; it and the mark are taken off the rest.
std::string_view take_until(char mark, std::string_view& rest) {
  const std::string_view part = rest.substr(0, rest.find(mark));
  rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  return part;
}

/// Where a row is, and what it holds.
struct Row {
  const Task& task;
  const fs::path& file;
  std::size_t line;
  Cells cells = {};

  [[noreturn]] void refuse(const std::string& reason) const { throw FileError(file, line, reason); }
  [[nodiscard]] std::string_view operator[](const Column& column) const {
    return cells[column.place];
  }
};

Row row_of(const Task& task, const fs::path& file, std::size_t line, std::string_view text) {
  Row row{.task = task, .file = file, .line = line};
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (to_utf8(text) != text) row.refuse("is not UTF-8");
  for (auto tabs = std::count(text.begin(), text.end(), '\t'); tabs >= 0; --tabs)
    row.cells.push_back(take_until('\t', text));
  if (row.cells.size() != task.columns)
    row.refuse("has " + std::to_string(row.cells.size()) +
               (row.cells.size() == 1 ? " column" : " columns") + ", expected the " +
               std::to_string(task.columns) + " of " + std::string(task.name));
  return row;
}

void check_header(const Row& row) {
  const auto check = [&](const Column& column) {
    if (row[column] != column.name)
      row.refuse("column " + std::to_string(column.place + 1) + " of the header is " +
                 in_quotes(row[column]) + ", expected " + in_quotes(column.name));
  };
  check(row.task.label);
  check(row.task.first);
  if (row.task.second) check(*row.task.second);
}

double class_of(const Row& row) {
  const std::vector<std::string_view>& labels = row.task.labels;
  const auto found = std::find(labels.begin(), labels.end(), row[row.task.label]);
  if (found == labels.end()) {
    std::string list;
    for (const std::string_view label : labels)
      list += (list.empty() ? "" : " or ") + std::string(label);
    row.refuse("the label is " + in_quotes(row[row.task.label]) + ", expected " + list);
  }
  return double(found - labels.begin());
}

double number_of(const Row& row) {
  const std::string_view text = row[row.task.label];
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || !(number >= 0 && number <= row.task.most))
    row.refuse("the label is " + in_quotes(text) + ", expected a number from 0 to " +
               std::to_string(int(row.task.most)));
  return number;
}

Example example_of(const Row& row) {
  const Task& task = row.task;
  return {.first = std::string(row[task.first]),
          .second = task.second ? std::string(row[*task.second]) : std::string(),
          .label = task.labels.empty() ? number_of(row) : class_of(row)};
}

std::vector<std::int32_t> whole(std::span<const double> numbers) {
  std::vector<std::int32_t> result;
  for (const double number : numbers) result.push_back(std::int32_t(std::lround(number)));
  return result;
}

}  // namespace

const std::vector<Task>& tasks() {
  static const std::vector<Task> all = {{.name = "CoLA",
                                         .columns = 4,
                                         .has_header = false,
                                         .label = {1, ""},
                                         .first = {3, ""},
                                         .labels = {"0", "1"},
                                         .metrics = {"matthews", "accuracy"}},
                                        {.name = "SST-2",
                                         .columns = 2,
                                         .has_header = true,
                                         .label = {1, "label"},
                                         .first = {0, "sentence"},
                                         .labels = {"0", "1"},
                                         .metrics = {"accuracy"}},
                                        {.name = "MRPC",
                                         .columns = 5,
                                         .has_header = true,
                                         .label = {0, "Quality"},
                                         .first = {3, "#1 String"},
                                         .second = Column{4, "#2 String"},
                                         .labels = {"0", "1"},
                                         .metrics = {"f1", "accuracy"}},
                                        {.name = "RTE",
                                         .columns = 4,
                                         .has_header = true,
                                         .label = {3, "label"},
                                         .first = {1, "sentence1"},
                                         .second = Column{2, "sentence2"},
                                         .labels = {"entailment", "not_entailment"},
                                         .metrics = {"accuracy"}},
                                        {.name = "STS-B",
                                         .columns = 10,
                                         .has_header = true,
                                         .label = {9, "score"},
                                         .first = {7, "sentence1"},
                                         .second = Column{8, "sentence2"},
                                         .labels = {},
                                         .most = 5,
                                         .metrics = {"pearson", "spearman"}}};
  return all;
}

const Task& task_named(std::string_view name) {
  std::vector<std::string> names;
  for (const Task& task : tasks()) {
    if (task.name == name) return task;
    names.emplace_back(task.name);
  }
  throw std::invalid_argument("there is no task " + in_quotes(name) + suggestion(name, names));
}

std::vector<Example> read_examples(const Task& task, const fs::path& file) {
  expect_regular(file);
  const std::string content = read_file(file);
  std::string_view rest = content;
  if (rest.starts_with(byte_order_mark)) rest.remove_prefix(byte_order_mark.size());
  std::vector<Example> examples;
  for (std::size_t line = 1; !rest.empty(); ++line) {
    const Row row = row_of(task, file, line, take_until('\n', rest));
    if (line == 1 && task.has_header)
      check_header(row);
    else
      examples.push_back(example_of(row));
  }
  if (examples.empty()) throw FileError(file, "holds no row of " + std::string(task.name));
  return examples;
}

std::vector<Example> read_split(const Task& task, const fs::path& data, std::string_view split) {
  const std::string name = std::string(split) + ".tsv";
  const bool is_folder_of_task = !fs::exists(data / task.name) && fs::exists(data / name);
  return read_examples(task, (is_folder_of_task ? data : data / task.name) / name);
}

std::vector<Encoded> encode(const Task& task, std::span<const Example> examples,
                            const Tokenizer& tokenizer, Index max_length) {
  std::vector<Encoded> sentences;
  sentences.reserve(examples.size());
  for (const Example& example : examples)
    sentences.push_back(task.second ? tokenizer.encode(example.first, example.second, max_length)
                                    : tokenizer.encode(example.first, max_length));
  return sentences;
}

std::vector<std::pair<std::string, double>> scores(const Task& task,
                                                   std::span<const double> predicted,
                                                   std::span<const Example> examples) {
  comet::detail::check_equal("scores", "predicted.size()", Index(predicted.size()),
                             "examples.size()", Index(examples.size()));
  std::vector<double> expected;
  for (const Example& example : examples) expected.push_back(example.label);
  const std::span<const double> labels(expected);
  const auto figure = [&](std::string_view metric) {
    if (metric == "pearson") return comet::pearson_correlation(predicted, labels);
    if (metric == "spearman") return comet::spearman_correlation(predicted, labels);
    const std::vector<std::int32_t> said = whole(predicted), is = whole(labels);
    const std::span<const std::int32_t> a(said), b(is);
    if (metric == "accuracy") return comet::accuracy(a, b);
    const comet::BinaryCounts counts = comet::binary_counts(a, b);
    return metric == "f1" ? comet::f1_score(counts) : comet::matthews_correlation(counts);
  };
  std::vector<std::pair<std::string, double>> result;
  for (const std::string_view metric : task.metrics) result.emplace_back(metric, figure(metric));
  return result;
}

}  // namespace programs::bert
