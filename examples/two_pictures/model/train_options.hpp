// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <programs/base/common_options.hpp>
#include <programs/base/dense_rows.hpp>
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
