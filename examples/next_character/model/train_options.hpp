// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <next_character/data/text.hpp>
#include <next_character/model/model_options.hpp>
#include <programs/base/common_options.hpp>
#include <programs/base/json.hpp>
#include <programs/base/option.hpp>

namespace programs::next_character {

/// \brief All that a training run is a function of, and where it goes.
struct TrainOptions : CommonOptions {
  TrainOptions();

  TextOptions text;
  ModelOptions model;
  Index dense_dim = 0;         ///< hidden units of dense_wide; 0 for twice those of dense
  std::int64_t warm_up = 100;  ///< steps
  double weight_decay = 0.01;
  double clip_norm = 1;
  std::int64_t validate_every = 500;  ///< steps
};

// Dense networks beside the gates of the library: one expert that sees every sample.
inline constexpr const char* dense = "dense";            ///< of the cost of k experts
inline constexpr const char* dense_wide = "dense_wide";  ///< of any width
inline constexpr const char* dense_all = "dense_all";    ///< with the parameters of all experts

/// What a row of a table may be: a gate of the library, or a dense network.
[[nodiscard]] const std::vector<std::string>& row_names();
[[nodiscard]] bool is_dense(const std::string& row);
/// The sizes of the model of a row: a dense network has one expert.
[[nodiscard]] ModelOptions model_of(const TrainOptions& options);

/// The one table of them.
[[nodiscard]] OptionTable table_of(TrainOptions& options);

/// Before anything is read or written.
/// \throws std::invalid_argument naming the option, its value and its bound
void check(const TrainOptions& options);

/// Whether a file of a name, there or not yet, would be one of the text's.
[[nodiscard]] bool takes_in(const TrainOptions& options, const std::filesystem::path& file);

/// Those that the figures depend on.
[[nodiscard]] Json to_json(const TrainOptions& options);

/// What to_json() was given, as far as it says.
/// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
[[nodiscard]] TrainOptions options_from(const Json& json);

}  // namespace programs::next_character
