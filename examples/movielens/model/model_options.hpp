// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>

namespace programs::movielens {

using comet::Index;

struct ModelOptions {
  Index num_users = 0;
  Index num_items = 0;
  Index embedding_dim = 128;
  Index num_experts = 16;
  Index expert_dim = 256;
  Index head_dim = 256;
  double dropout = 0.5;
};

/// Strength of the two losses.
struct TaskWeights {
  double watched = 0.5;
  double rating = 0.5;
};

}  // namespace programs::movielens
