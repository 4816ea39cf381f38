// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <movielens/data/table_options.hpp>
#include <movielens/model/model_options.hpp>
#include <programs/base/common_options.hpp>
#include <programs/base/dense_rows.hpp>
#include <programs/base/json.hpp>
#include <programs/base/option.hpp>

namespace programs::movielens {

/// \brief All that a training run is a function of, and where it goes.
struct TrainOptions : CommonOptions {
  std::string data;
  TableOptions table;  ///< what the ratings look like; else recognised
  ModelOptions model;
  std::vector<double> task_weights = {0.5, 0.5};
};

[[nodiscard]] TaskWeights task_weights(const TrainOptions& options);
/// Experts that a row's model has.
[[nodiscard]] Index num_experts_of(const TrainOptions& options);

/// The one table of them.
[[nodiscard]] OptionTable table_of(TrainOptions& options);

/// Of them, what says where the ratings are and what they look like.
[[nodiscard]] OptionTable data_table_of(TrainOptions& options);

/// Before anything is read or written.
/// \throws std::invalid_argument naming the option, its value and its bound
void check(const TrainOptions& options);

/// Those that the figures depend on.
[[nodiscard]] Json to_json(const TrainOptions& options);

/// What to_json() was given, as far as it says.
/// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
[[nodiscard]] TrainOptions options_from(const Json& json);

}  // namespace programs::movielens
