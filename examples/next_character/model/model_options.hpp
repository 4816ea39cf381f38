// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>

namespace programs::next_character {

using comet::Index;

struct ModelOptions {
  Index symbols = 0;
  Index window = 16;
  Index embedding_dim = 24;
  Index hidden_dim = 192;
  Index num_experts = 8;
  Index expert_dim = 256;  ///< hidden units of an expert
};

}  // namespace programs::next_character
