// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/types.hpp>

#include <movielens/data/table_options.hpp>
#include <movielens/model/model.hpp>

namespace CLI {
class App;
}

namespace movielens {

using Json = nlohmann::ordered_json;

/// \brief All that a training run is a function of, and where it goes.
struct TrainOptions {
  std::string data;
  TableOptions table;  ///< what the ratings look like; else recognised
  std::string gate = "comet";
  std::string local_search = "none";
  ModelOptions model;
  Index k = 2;
  double gamma = 1;
  double entropy = 0.05;
  std::vector<double> task_weights = {0.5, 0.5};
  double learning_rate = 5e-4;
  std::int64_t batch_size = 512;
  int epochs = 6;
  int patience = 25;
  int search_epochs = 2;
  std::vector<double> search_temperatures = {1e-3, 1e-7};
  std::int64_t seed = 1;
  std::optional<std::int64_t> split_seed;  ///< of negatives and split; else `seed`
  int threads = 0;
  std::string out;
  std::string from_pretrained;  ///< file of a model to start from; else at random
  bool weights = false;         ///< writes model.safetensors
  std::optional<std::int64_t> checkpoint_every = 0;  ///< steps, 0 for never; none: once per epoch
  bool resume = false;                               ///< goes on from a checkpoint
  bool quiet = false;
};

[[nodiscard]] const std::vector<std::string>& gate_names();
[[nodiscard]] const std::vector<std::string>& local_search_names();

/// Registers --data, and the options of the table that is there.
void add_data_options(CLI::App& command, TrainOptions& options);

/// Registers the options that all trainings share: not the gate, the search, the seed, the output.
void add_options(CLI::App& command, TrainOptions& options);

/// Before anything is read or written.
/// \throws std::invalid_argument naming the option, its value and its bound
void check(const TrainOptions& options);

/// Those that the figures depend on.
[[nodiscard]] Json to_json(const TrainOptions& options);

/// What to_json() was given, as far as it says.
/// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
[[nodiscard]] TrainOptions options_from(const Json& json);

}  // namespace movielens
