// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/hyperplanes.hpp>

/// \file
/// \brief The settings that gates share.

namespace comet::detail {

/// Experts have numbers: there are no more than those can name.
inline void check_num_experts(std::string_view where, Index num_experts, Index least = 1) {
  check_at_least(where, "num_experts", num_experts, least);
  check_at_most(where, "num_experts", num_experts, "the largest ExpertId",
                std::numeric_limits<ExpertId>::max());
}

/// Of a gate that selects k of n experts, least <= k <= n.
template <class Options>
void check_selection(std::string_view where, const Options& options, Index least = 1) {
  check_num_experts(where, options.num_experts, least);
  check_at_least(where, "k", options.k, least);
  check_at_most(where, "k", options.k, "num_experts", options.num_experts);
}

/// Of a gate with rows of shares.
template <class S, class Options>
void check_row_penalties(std::string_view where, const Options& options) {
  check_not_negative_as<S>(where, "entropy", options.entropy);
  check_not_negative_as<S>(where, "spread", options.spread);
}

/// And those of a gate of soft trees.
template <class S, class Options>
void check_soft_tree(std::string_view where, const Options& options) {
  check_selection(where, options);
  check_positive_as<S>(where, "gamma", options.gamma);
  check_row_penalties<S>(where, options);
}

/// How the planes of splits start.
template <class S, class Options>
void initialize_splits(Hyperplanes<S>& planes, const Options& options, RandomKey key) {
  if (options.split_scale > 0) {
    planes.initialize_normal(options.split_scale / std::sqrt(double(planes.input_dim())), key);
  } else {
    planes.initialize(options.gamma / 100, key);
  }
}

/// The options after an annealing.
template <class S, class Options>
[[nodiscard]] Options annealed(std::string_view where, Options options,
                               const GateAnnealing& annealing) {
  options.gamma = annealing.gamma.value_or(options.gamma);
  options.entropy = annealing.entropy.value_or(options.entropy);
  options.spread = annealing.spread.value_or(options.spread);
  check_soft_tree<S>(where, options);
  return options;
}

}  // namespace comet::detail
