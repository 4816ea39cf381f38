// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <comet/core/types.hpp>

#include <programs/base/kinds.hpp>
#include <programs/base/option.hpp>

namespace programs {

/// \brief What a training is a function of, whatever its model and its data, and where it goes.
struct CommonOptions {
  std::string gate = "comet";
  std::string local_search = no_search;
  comet::Index k = 2;
  double gamma = 1;
  double entropy = 0.05;
  double spread = 0;
  double split_scale = 0;
  double load_balance = 0;
  double reachability = 0;
  std::int64_t sparse_by = 0;  ///< epochs or steps, as the program counts; 0 for never
  double learning_rate = 5e-4;
  std::int64_t batch_size = 512;
  int epochs = 6;
  std::int64_t steps = 0;  ///< of a training that is counted in steps; 0 for one in epochs
  int patience = 25;
  int search_epochs = 2;
  std::vector<double> search_temperatures = {1e-3, 1e-7};
  std::int64_t seed = 1;
  std::optional<std::int64_t> split_seed;  ///< of the split and what is drawn for it; else `seed`
  int threads = 0;
  std::string out;
  std::string from_pretrained;     ///< file of a model to start from; else at random
  bool weights = false;            ///< writes model.safetensors
  std::string record;              ///< file for what the gates do in a step; empty for none
  std::int64_t record_every = 10;  ///< steps
  std::optional<std::int64_t> checkpoint_every = 0;  ///< steps, 0 for never; none: once per epoch
  bool resume = false;                               ///< goes on from a checkpoint
  bool quiet = false;
};

// Their lines, for a program to put its own between.

/// Gate and local search. \param rows  gates, and what else a program can train in their place
[[nodiscard]] std::vector<Option> choice_options(CommonOptions& options,
                                                 const std::vector<std::string>& rows);
/// What a gate heeds.
/// \param num_experts  has to outlive the options
/// \param unit         that a training is counted in, "epoch"
[[nodiscard]] std::vector<Option> gate_options(CommonOptions& options,
                                               const comet::Index& num_experts,
                                               const std::string& unit);
/// Optimizer, epochs and local search.
[[nodiscard]] std::vector<Option> schedule_options(CommonOptions& options);
/// Seeds, threads and where things go.
[[nodiscard]] std::vector<Option> run_options(CommonOptions& options);

}  // namespace programs
