// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/types.hpp>

#include <bert/data/tokenizer.hpp>

namespace programs::bert {

/// \brief A column of a file.
struct Column {
  std::size_t place = 0;  ///< from 0
  std::string_view name;  ///< in the header
};

/// \brief A task of GLUE (Wang et al., 2018): the form of its files, and what it is judged by.
struct Task {
  std::string_view name;  ///< "CoLA", also of its folder
  std::size_t columns;    ///< of a row
  bool has_header;
  Column label;
  Column first;                           ///< the sentence
  std::optional<Column> second = {};      ///< of a pair
  std::vector<std::string_view> labels;   ///< of the classes, in their order; empty for a number
  double most = 0;                        ///< of a number, which is at least 0
  std::vector<std::string_view> metrics;  ///< the first one is the score

  [[nodiscard]] bool has_pairs() const noexcept { return second.has_value(); }
  /// \brief Outputs of a model: classes, or 1 for a number.
  [[nodiscard]] Index num_labels() const noexcept {
    return labels.empty() ? 1 : Index(labels.size());
  }
};

/// CoLA, SST-2, MRPC, RTE and STS-B.
[[nodiscard]] const std::vector<Task>& tasks();
/// \throws std::invalid_argument if there is none of this name
[[nodiscard]] const Task& task_named(std::string_view name);

/// \brief A row of a task.
struct Example {
  std::string first;
  std::string second = {};  ///< empty if the task has no pairs
  double label = 0;         ///< number of the class, or the number
};

/// \brief Reads a file of a task: columns between tabs, quotes are characters as any other, rows
/// end with a line feed.
/// \throws FileError naming file, line and reason: columns that are missing or too many, a label
///         that is none, bytes that are not UTF-8, no row at all
[[nodiscard]] std::vector<Example> read_examples(const Task& task,
                                                 const std::filesystem::path& file);

/// \brief The same of `train` or `dev` in a folder of tasks, `DATA/CoLA/train.tsv`, or of one task.
[[nodiscard]] std::vector<Example> read_split(const Task& task, const std::filesystem::path& data,
                                              std::string_view split);

/// The rows as a model sees them.
[[nodiscard]] std::vector<Encoded> encode(const Task& task, std::span<const Example> examples,
                                          const Tokenizer& tokenizer, Index max_length);

/// \brief Figures of predictions, by the names of Task::metrics, the score first.
/// \param predicted  classes as numbers, or numbers: one per example
/// \throws std::invalid_argument unless there are as many as examples
[[nodiscard]] std::vector<std::pair<std::string, double>> scores(const Task& task,
                                                                 std::span<const double> predicted,
                                                                 std::span<const Example> examples);

}  // namespace programs::bert
