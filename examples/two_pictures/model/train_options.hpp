// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <programs/base/common_options.hpp>
#include <programs/base/json.hpp>
#include <programs/base/option.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/model_options.hpp>

namespace programs::two_pictures {

/// \brief All that a training run is a function of, and where it goes.
struct TrainOptions : CommonOptions {
  TrainOptions();

  DataOptions pictures;
  ModelOptions model;
};

/// \name Networks that a mixture is measured by: k experts for every canvas, mixed by a softmax.
/// \{
inline constexpr const char* dense = "dense";                    ///< the same for all tasks
inline constexpr const char* dense_per_task = "dense_per_task";  ///< k of its own for each task
/// \}
/// What can be trained: all gates, and these.
[[nodiscard]] const std::vector<std::string>& row_names();
[[nodiscard]] bool is_dense(const std::string& row);
/// Experts that a row's model has.
[[nodiscard]] Index num_experts_of(const TrainOptions& options, Index num_tasks);
/// The sizes of the model of a row, for such examples.
/// \throws std::invalid_argument if the filters are too large for them
[[nodiscard]] ModelOptions model_of(const TrainOptions& options, const Examples& examples);

/// The one table of them.
[[nodiscard]] OptionTable table_of(TrainOptions& options);

/// Of them, what says where the pictures are and what is made of them.
[[nodiscard]] OptionTable data_table_of(TrainOptions& options);

/// Before anything is read or written.
/// \throws std::invalid_argument naming the option, its value and its bound
void check(const TrainOptions& options);

/// Those that the figures depend on.
[[nodiscard]] Json to_json(const TrainOptions& options);

/// What to_json() was given, as far as it says.
/// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
[[nodiscard]] TrainOptions options_from(const Json& json);

}  // namespace programs::two_pictures
